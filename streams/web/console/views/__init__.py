"""What the pages say, worked out without HTTP: a store in, plain values out."""
