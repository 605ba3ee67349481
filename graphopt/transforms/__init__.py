"""The passes themselves, one family a file. They know the IR and the rewriting engine, no file format and no runtime."""
