// Package holders tells which processes have files open, as far as the system
// lets whoever asks look into them.
package holders
