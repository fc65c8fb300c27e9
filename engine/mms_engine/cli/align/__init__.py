"""Commands `mms align` and `mms segment`: forced alignment of recordings and their texts."""
