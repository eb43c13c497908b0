//go:build race

package roll

// racing says that the race detector is at work, which makes all of it slow.
const racing = true
