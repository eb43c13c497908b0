//go:build !race

package roll

const racing = false
