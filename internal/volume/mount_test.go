package volume

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func TestFind(t *testing.T) {
	all := Parse(`21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,data=writeback
22 21 0:20 / /mnt/a rw - tmpfs tmpfs rw
23 21 0:21 / /mnt/with\040space ro,noatime shared:2 master:1 - xfs /dev/vdb rw
24 21 0:22 / /mnt/twice rw - btrfs /dev/vdc rw
25 21 0:23 / /mnt/twice rw - zfs pool rw
26 21 0:24 / /mnt/none rw - fuse.none
broken
1 2 3 4 - a
`)
	for dir, want := range map[string]string{
		"/": "ext4", "/home": "ext4", "/mnt/a": "tmpfs", "/mnt/a/b": "tmpfs", "/mnt/ab": "ext4",
		"/mnt/with space/x": "xfs", "/mnt/twice": "zfs", "/mnt/none": "fuse.none",
	} {
		if got, ok := Find(all, dir); !ok || got.Kind != want {
			t.Errorf("%q is on %+v, want %q", dir, got, want)
		}
	}
	m, _ := Find(all, "/mnt/with space")
	if m.ID != 23 || m.Device != "0:21" || m.Source != "/dev/vdb" || !m.Has("noatime") || !m.Has("ro") || m.Has("data=writeback") || m.InMemory() {
		t.Errorf("got %+v", m)
	}
	if root, _ := Find(all, "/x"); !root.Has("data=writeback") {
		t.Errorf("an option of the file system is not seen: %+v", root)
	}
	if _, ok := Find(nil, "/"); ok {
		t.Error("a mount is found where there is none")
	}
	if got, ok := Of("/proc"); runtime.GOOS == "linux" && (!ok || got.Kind != "proc") {
		t.Errorf("/proc is on %+v", got)
	}
	if _, ok := Of(filepath.Join(t.TempDir(), "missing")); ok {
		t.Error("what is not there is on a mount")
	}
}

// TestBlock reads a partition's disk, and a device without partitions.
func TestBlock(t *testing.T) {
	sys := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		full := filepath.Join(sys, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("devices/sda/queue/write_cache", "write back")
	put("devices/sda/queue/fua", "1")
	put("devices/sda/queue/rotational", "1")
	put("devices/sda/sda1/partition", "1")
	put("devices/sda/sda1/ro", "0")
	put("devices/dm-0/queue/write_cache", "write through")
	put("devices/dm-0/ro", "1")
	put("devices/sdb/device/vendor", "QEMU    ")
	put("devices/sdb/queue/rotational", "1")
	put("devices/vda/ro", "0")
	put("dev/block/placeholder", "")
	for number, to := range map[string]string{"8:1": "../../devices/sda/sda1", "253:0": "../../devices/dm-0", "8:16": "../../devices/sdb", "254:0": "../../devices/vda"} {
		if err := os.Symlink(to, filepath.Join(sys, "dev", "block", number)); err != nil {
			t.Fatal(err)
		}
	}
	for number, want := range map[string]Device{
		"8:1":   {Name: "sda", Cache: "write back", FUA: true, Rotational: true},
		"253:0": {Name: "dm-0", Cache: "write through", ReadOnly: true},
		"8:16":  {Name: "sdb", Rotational: true, Virtual: true},
		"254:0": {Name: "vda", Virtual: true},
	} {
		if got, ok := Block(sys, number); !ok || got != want {
			t.Errorf("%s is %+v, %v; want %+v", number, got, ok, want)
		}
	}
	if got, ok := Block(sys, "0:42"); ok {
		t.Errorf("0:42 is %+v", got)
	}
}
