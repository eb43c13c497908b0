// Package power holds the journal against what real file systems of the kernel
// do: ext4 and XFS in a loop device whose power is cut through
// FS_IOC_SHUTDOWN, a page cache that shows what never reached the disk, and
// volumes without room, without inodes, or gone read-only.
//
// The tests need root and Linux. They run in a mount namespace of their own,
// and their loop devices detach by themselves, so that nothing is left behind
// however they end.
package power
