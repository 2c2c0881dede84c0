"""What the commands share: arguments, options, the store, printing, errors and exit codes."""
