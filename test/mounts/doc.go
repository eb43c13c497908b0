// Package mounts lets tests mount real file systems: in a mount namespace of
// their own, from images in a tmpfs, through loop devices that detach by
// themselves. Whatever a test leaves behind goes away with its last process,
// also after kill -9. Only Linux has this; elsewhere the package is empty.
package mounts
