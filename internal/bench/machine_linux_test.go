package bench

import "testing"

func TestMountedAt(t *testing.T) {
	const mounts = `21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
22 21 0:20 / /mnt/a rw - tmpfs tmpfs rw
23 21 0:21 / /mnt/with\040space rw shared:2 master:1 - xfs /dev/vdb rw
24 21 0:22 / /mnt/twice rw - btrfs /dev/vdc rw
25 21 0:23 / /mnt/twice rw - zfs pool rw
broken
`
	for dir, want := range map[string]string{
		"/": "ext4", "/home": "ext4", "/mnt/a": "tmpfs", "/mnt/a/b": "tmpfs", "/mnt/ab": "ext4",
		"/mnt/with space/x": "xfs", "/mnt/twice": "zfs",
	} {
		if got := mountedAt(mounts, dir); got != want {
			t.Errorf("%q is on %q, want %q", dir, got, want)
		}
	}
	if got := fileSystem("/proc"); got != "proc" {
		t.Errorf("/proc is on %q", got)
	}
}
