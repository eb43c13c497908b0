// Package notice has the system tell that something in a directory has changed,
// so that those who follow directories need not look all the time.
package notice
