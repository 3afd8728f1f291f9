"""The gRPC ranking service: one shopper in, one ordered list out."""
