"""The commands, by job. Each reads its arguments, asks the modules beside this package, and shows what they answer."""
