"""`wcel/1`: an integer-only, total, metered subset of CEL, the language of rules.

An expression is read (`lexer`, `parser`, `syntax`), checked (`checker`, `types`), costed (`cost`,
`gas`) and compiled to closures (`compiler`). `docs/wcel.md` is its specification. Values and gas
are part of what nodes agree on: what is answered here never changes, another answer is `wcel/2`.
"""
