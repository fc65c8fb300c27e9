"""Command `mms doctor`: checks of the installation, the devices and the bundle."""
