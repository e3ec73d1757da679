"""How the layer is made: `build` assembles it, `trim` says what stays behind, `binaries` checks what is compiled."""
