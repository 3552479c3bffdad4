"""Reads: files, standard input, growing logs; each cut into blocks of whole records."""
