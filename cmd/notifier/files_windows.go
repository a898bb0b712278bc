package main

// openFiles knows of no limit.
func openFiles() (limit uint64, known bool) { return 0, false }
