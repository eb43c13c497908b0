package doctor

import "fmt"

// FFS, as NetBSD's newfs makes it: inodes of 128 bytes, one block and a copy of
// the superblock in each cylinder group, a twentieth kept back for root.
const (
	ffsInode    = 128
	ffsGroup    = 13 << 10 // of its own in a group
	ffsPerGroup = 7 * mib  // the size of a group with small blocks, about
	ffsKeeps    = 20       // one of so many is kept back (newfs -m 5)
	ffsEntry    = 64       // a name of 48 bytes, in directory blocks of 512 that are nearly full
)

func sprintf(format string, args ...any) string { return fmt.Sprintf(format, args...) }

// ffsUsable returns what df calls the size of an FFS on size bytes with so many
// inodes.
func ffsUsable(size, inodes int64) int64 {
	return size - inodes*ffsInode - (size/ffsPerGroup+1)*ffsGroup
}

func (p *Plan) spoolFFS() error {
	frag := int64(512)
	for frag < 2048 && p.Bytes > 8*frag { // beyond eight fragments a file has whole blocks
		frag *= 2
	}
	dirs := p.dirs()
	p.Inodes = up(p.Files+dirs+p.Files/100+1000, 1024)
	data := p.Files * up(p.Bytes, frag)
	names := p.Files*ffsEntry + dirs*frag
	tables := p.Inodes * ffsInode
	p.step("inodes", p.Inodes, "inodes", "one per file, %d sub-directories, and some to spare", dirs)
	p.step("inode tables", tables, "bytes", "inodes x %d bytes", ffsInode)
	p.step("content", data, "bytes", "files x %d bytes, in fragments of %d", up(p.Bytes, frag), frag)
	p.step("directories", names, "bytes", "files x %d bytes of name, and %d sub-directories", ffsEntry, dirs)
	size := (data + names) * ffsKeeps / (ffsKeeps - 1)
	size = up(size+tables, mib)
	for ffsUsable(size, p.Inodes)*(ffsKeeps-1)/ffsKeeps < data+names {
		size += mib
	}
	p.step("the file system itself", size-tables-data-names, "bytes", "cylinder groups, and the twentieth that is kept back for root")
	p.Size = size
	p.step("partition", p.Size, "bytes", "the sum: %d sectors of 512 bytes for disklabel", p.Size/512)
	p.Mkfs = sprintf("newfs -f %d -b %d -n %d %s", frag, 8*frag, p.Inodes, p.Need.Device)
	return nil
}

func (p *Plan) streamFFS(content int64) {
	p.Size = up(content*ffsKeeps/(ffsKeeps-1)+content/50+8*mib, mib)
	p.Mkfs = sprintf("newfs -f 2048 -b 16384 -i %d %s", mib, p.Need.Device)
}

// followFFS is follow for NetBSD.
func (p *Plan) followFFS() {
	n := p.Need
	p.Options = "rw,noatime,log,noauto"
	p.Fstab = sprintf("%s %s ffs %s 0 0", ffsBlock(n.Device), n.Mount, p.Options)
	p.Then = []string{
		"mkdir -p " + n.Mount,
		sprintf("echo '%s' >> /etc/fstab", p.Fstab),
		"mount " + n.Mount,
		"install -d -m 0700 " + p.dir(),
	}
	p.note("log is the journal of NetBSD 6 and later; before it, write softdep. Without either a crash needs a whole fsck")
	p.note("noauto and the last 0: the system neither mounts nor checks it at boot; both are yours")
	p.note("keep the system out of it: in /etc/locate.conf `ignorecontents %s`; in /etc/daily.conf `find_core=NO`; in /etc/security.conf `check_devices_ignore_path=\"%s\"`", n.Mount, n.Mount)
	p.note("newfs -g and -h do not work on NetBSD 5; -f, -b and -n do. Holdfast itself is tested on Linux only: on FFS it is the writers' spool that is meant")
}

// ffsBlock returns the block device that goes with a raw one.
func ffsBlock(raw string) string {
	const dir = "/dev/r"
	if len(raw) > len(dir) && raw[:len(dir)] == dir {
		return "/dev/" + raw[len(dir):]
	}
	return raw
}
