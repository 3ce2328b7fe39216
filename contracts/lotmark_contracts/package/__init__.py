"""Rule packages: read from the bytes of their files, checked, costed, hashed.

`load_package` is all that a caller needs; `docs/contracts.md` is the format's specification.
"""
