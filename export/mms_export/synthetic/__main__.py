"""`python -m mms_export.synthetic`."""

from mms_export.synthetic.command import main

if __name__ == "__main__":
    main()
