"""The contracts that are spoken with other processes, and the code that is generated from them."""
