// Package many rolls 10,000 segments: in memory, where each read is counted,
// and with the built binary on a real disk, where the kernel counts them.
package many
