"""The parts of generate.py: the schema, and a printer for each output."""
