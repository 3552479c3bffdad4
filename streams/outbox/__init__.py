"""Hands notices over: claims what is due, asks once more whether it may go, sends, writes down what came of it."""
