package volume

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Device is what sysfs says of a block device.
type Device struct {
	Name       string // sda, nvme0n1, dm-0; of a partition, the disk that it is on
	Cache      string // "write back": it has a cache that a power cut may empty, and flushes are what empties it; "write through"; "" where it does not say
	FUA        bool   // one write can be flushed alone
	Rotational bool   // it says so; what is emulated says it too
	Virtual    bool   // it is emulated: what is below is not told
	ReadOnly   bool
}

// Block returns the block device major:minor, as the sysfs at sys has it; false
// where there is none, as below a file system of the network.
func Block(sys, number string) (Device, bool) {
	dir, err := filepath.EvalSymlinks(filepath.Join(sys, "dev", "block", number))
	if err != nil {
		return Device{}, false
	}
	d := Device{ReadOnly: word(dir, "ro") == "1"}
	if _, err := os.Stat(filepath.Join(dir, "partition")); err == nil {
		dir = filepath.Dir(dir) // the disk has the queue
	}
	d.Name = filepath.Base(dir)
	d.Virtual = emulated(d.Name, word(dir, "device", "vendor"))
	d.Cache = word(dir, "queue", "write_cache")
	d.FUA = word(dir, "queue", "fua") == "1"
	d.Rotational = word(dir, "queue", "rotational") == "1"
	d.ReadOnly = d.ReadOnly || word(dir, "ro") == "1"
	return d, true
}

// emulated tells a virtual machine's disk by its driver's name for it, or by the
// vendor that it claims.
func emulated(name, vendor string) bool {
	return strings.HasPrefix(name, "vd") || strings.HasPrefix(name, "xvd") || slices.Contains([]string{"QEMU", "VMware", "Msft", "VBOX", "Google"}, vendor)
}

// word returns what a file of sysfs holds; "" where it is not there.
func word(parts ...string) string {
	text, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
