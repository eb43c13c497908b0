// Package blocks holds the journal against every order in which a disk may
// lose what was not flushed. A recorder, which is a FUSE file below a loop
// device, keeps each write and each flush that a file system sends while a
// journal works on it. Then any moment of that history is played back: what a
// flush had covered by then is there, of the rest a prefix, or any subset,
// sector by sector. The file system is mounted from that, the journal starts,
// and what it has is held against what had been acked by that moment.
//
// The tests need root, /dev/fuse and Linux. They run in a mount namespace of
// their own, and their loop devices detach by themselves, so that nothing is
// left behind however they end. The module is one of its own, so that the
// product does not depend on FUSE.
package blocks
