// Package seamtest cuts clients with cursors off, again and again, in every way
// there is, while events are committed, and compares what each had with what was
// committed. The clients of all protocols, the writers and the comparison are for
// other tests too; the torture of them on one machine's servers is a test of its own.
package seamtest
