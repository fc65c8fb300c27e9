"""What rounding does to a bundle's graphs: they are run node by node with true 16-bit rounding."""
