"""Random checkpoints with the names, shapes and sizes of the published ones.

    python -m mms_export.synthetic --out DIR --languages 1162
    python -m mms_export.synthetic --out DIR --labels 4017
    python -m mms_export.synthetic --out DIR --pretrained
    python -m mms_export.synthetic --out DIR --voices 40
    python -m mms_export.synthetic.omnilingual --out DIR --size 300M

For checks of memory, time and parity at full size without real weights. Such a model's text is
meaningless. Smaller sizes, and `--variant` for the layouts of `mms_export.variants`, serve checks
of the exporter.
"""
