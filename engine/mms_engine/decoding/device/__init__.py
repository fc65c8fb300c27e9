"""CTC decoding on the device, where the encoder left its logits."""
