"""What goes wrong, how it is seen, and what helps: one table, and the eyes for it."""
