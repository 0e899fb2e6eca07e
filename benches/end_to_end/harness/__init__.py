"""The end-to-end benchmark; `../run` starts it."""
