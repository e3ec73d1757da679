"""How the layer is made.

`build` keeps what was made, `assemble` makes it, `trim` says what stays behind, `binaries` checks compiled modules, and
`record` lists the modules that get bytecode. `functions` makes a function's artifact, with what `dependencies`
installs; `sam_build` finds out what SAM builds for. What nobody's first answer needs is loaded later: `deferrals` says
what, `defer` rewrites modules for it, and `deferred_names` goes into the layer with them.
"""
