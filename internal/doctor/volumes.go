package doctor

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"holdfast/internal/volume"
)

// A verdict is what is to be known of a kind of file system.
type verdict struct {
	severity  Severity
	means, do string
}

const (
	onDisk  = "put it on a disk with ext4 or XFS (holdfast doctor plan says how)"
	network = "a flush is the promise of another machine, locks may not hold, and neither is tested"
)

// kinds are the file systems that promise less than ext4 and XFS of Linux, which
// are the tested ones.
var kinds = map[string]verdict{
	"tmpfs":   {Critical, "it is memory: all of it is gone with the next start of the machine, acknowledged rows too", onDisk},
	"ramfs":   {Critical, "it is memory: all of it is gone with the next start of the machine, acknowledged rows too", onDisk},
	"overlay": {Warning, "it is the writable layer of a container, and goes with the container", "mount a volume of the host there"},
	"aufs":    {Warning, "it is the writable layer of a container, and goes with the container", "mount a volume of the host there"},
	"nfs":     {Warning, network, onDisk}, "nfs4": {Warning, network, onDisk}, "cifs": {Warning, network, onDisk}, "smb3": {Warning, network, onDisk},
	"9p": {Warning, network, onDisk}, "virtiofs": {Warning, network, onDisk}, "ceph": {Warning, network, onDisk}, "afs": {Warning, network, onDisk},
	"vfat":  {Critical, "it knows neither owners nor modes, so that everybody may read the rows, and has no journal", onDisk},
	"msdos": {Critical, "it knows neither owners nor modes, so that everybody may read the rows, and has no journal", onDisk},
	"exfat": {Critical, "it knows neither owners nor modes, so that everybody may read the rows, and has no journal", onDisk},
	"ntfs":  {Warning, "it is not tested, and its modes are those of the mount", onDisk},
	"ntfs3": {Warning, "it is not tested, and its modes are those of the mount", onDisk},
	"ext2":  {Warning, "it has no journal: after a power cut it needs a whole check, and may lose names", onDisk},
	"ext4":  {}, "xfs": {},
}

// volumes looks at each mount once, whatever lies on it.
func (x *exam) volumes() {
	seen := map[int]bool{}
	for _, p := range x.places {
		if !p.mounted || seen[p.mount.ID] {
			continue
		}
		seen[p.mount.ID] = true
		x.checked("file-system", "mount-options", "own-file-system", "device")
		on := x.on(p.mount)
		x.kind(on, p.mount)
		x.options(on, p.mount)
		x.own(on, p.mount)
		x.device(on, p.mount)
	}
}

// on returns the places on a mount.
func (x *exam) on(m volume.Mount) (all []*place) {
	for _, p := range x.places {
		if p.mounted && p.mount.ID == m.ID {
			all = append(all, p)
		}
	}
	return all
}

// name tells of places in one line.
func name(all []*place) string {
	var dirs []string
	for _, p := range all {
		inside := slices.ContainsFunc(all, func(o *place) bool { return o.Dir != p.Dir && volume.Within(o.Dir, p.Dir) })
		if !inside && !slices.Contains(dirs, p.Dir) {
			dirs = append(dirs, p.Dir)
		}
	}
	return strings.Join(dirs, ", ")
}

func (x *exam) kind(on []*place, m volume.Mount) {
	v, known := kinds[m.Kind]
	if strings.HasPrefix(m.Kind, "fuse") {
		v, known = verdict{Warning, "what a flush does there is up to the program behind it, and is not tested", onDisk}, true
	}
	if !known {
		v = verdict{Note, "Holdfast is tested on ext4 and XFS; other local file systems should do", ""}
	}
	if v.means != "" {
		x.add(Finding{v.severity, "file-system", name(on), m.Kind + " at " + m.At, v.means, v.do, []string{"findmnt --target " + quote(on[0].real)}})
	}
}

// options looks at how it is mounted.
func (x *exam) options(on []*place, m volume.Mount) {
	found := func(s Severity, saw, means, do string, commands ...string) {
		x.add(Finding{s, "mount-options", name(on), saw + " at " + m.At, means, do, commands})
	}
	remount := func(option string) string { return "mount -o remount," + option + " " + quote(m.At) }
	const fstab = "; and in its line of /etc/fstab"
	if m.Has("ro") {
		found(Critical, "ro", "nothing can be written: writers are refused. A file system makes itself so when its disk fails", "look at the disk, then mount it again for writing"+fstab,
			"dmesg | grep -iE 'ext4|xfs|i/o error|remount' | tail", remount("rw"))
	}
	if m.Has("nobarrier") || m.Has("barrier=0") {
		found(Critical, "nobarrier", "a flush does not reach the platter: after a power cut acknowledged rows may be gone", "turn barriers on"+fstab, remount("barrier"))
	}
	if m.Has("sync") || m.Has("dirsync") {
		found(Warning, "sync", "every write is flushed, those too that nobody waits for: slow, and no safer", "turn it off"+fstab, remount("async"))
	}
	if m.Has("data=journal") {
		found(Warning, "data=journal", "every row is written twice, and not past the page cache", "mount it with data=ordered"+fstab)
	}
	if m.Has("data=writeback") {
		found(Critical, "data=writeback", "ext4 gives blocks of a removed or replaced file away before the removal is on disk: after a power cut the old file is back with other bytes in it",
			"mount it with data=ordered, the default"+fstab)
	}
	if m.Has("errors=continue") {
		found(Warning, "errors=continue", "the file system goes on writing when it finds itself damaged", "let it stop"+fstab, remount("errors=remount-ro"))
	}
	times := m.Has("noatime") || m.Has("relatime")
	if !times && !m.InMemory() && !strings.HasPrefix(m.Kind, "fuse") {
		found(Warning, "strictatime", "each read writes the time of it to the disk", "turn it off"+fstab, remount("noatime"))
	} else if m.Has("relatime") && slices.ContainsFunc(on, func(p *place) bool { return p.use == useNamed }) {
		found(Note, "relatime", "each file of a spool is written once more when it is read", "mount it with noatime"+fstab, remount("noatime"))
	}
	if m.At != "/" && !m.InMemory() && !(m.Has("nodev") && m.Has("nosuid")) {
		found(Note, "neither nodev nor nosuid, or one of them", "no device and no set-user-id program belongs there", "forbid them"+fstab, remount("nodev,nosuid"))
	}
}

// own sees that a full volume stops nothing else, and nothing else fills it.
func (x *exam) own(on []*place, m volume.Mount) {
	if _, worse := kinds[m.Kind]; worse && kinds[m.Kind].severity > Note {
		return // said already, and moving it settles both
	}
	on = slices.DeleteFunc(slices.Clone(on), func(p *place) bool { return p.use == useSink || p.use == useSource })
	if len(on) == 0 {
		return
	}
	if m.At == "/" {
		severity := Warning
		if !slices.ContainsFunc(on, func(p *place) bool { return p.use == useNamed || p.use == useStream && !p.bounded }) {
			severity = Note // it cannot fill it up
		}
		x.add(Finding{severity, "own-file-system", name(on), "on the root file system", "a backlog fills up the whole system with it, and logs and updates take its room",
			"give it a partition of its own (holdfast doctor plan says which), or bound each stream with a budget in hot", []string{"df -h " + quote(on[0].real)}})
		return
	}
	if others := strangers(on, m.At); len(others) > 0 {
		x.add(Finding{Note, "own-file-system", name(on), "shares " + m.At + " with " + strings.Join(others[:min(3, len(others))], ", "), "what they take is missing here", "a partition of its own settles it", nil})
	}
}

// strangers returns what else is at a mount point, besides the places and the
// directories on the way to them.
func strangers(on []*place, at string) (names []string) {
	if slices.ContainsFunc(on, func(p *place) bool { return p.real == at }) {
		return nil
	}
	d, err := os.Open(at)
	if err != nil {
		return nil
	}
	defer d.Close()
	entries, _ := d.Readdirnames(100) // whoever has more has strangers among them
	for _, e := range entries {
		full := filepath.Join(at, e)
		way := slices.ContainsFunc(on, func(p *place) bool { return volume.Within(full, p.real) || volume.Within(full, p.Dir) })
		if !way && e != "lost+found" {
			names = append(names, e)
		}
	}
	slices.Sort(names)
	return names
}

// device looks at what is below the file system.
func (x *exam) device(on []*place, m volume.Mount) {
	d, ok := volume.Block(x.host.sys(), m.Device)
	if !ok {
		return
	}
	found := func(s Severity, saw, means, do string, commands ...string) {
		x.add(Finding{s, "device", "/dev/" + d.Name, saw + " (" + name(on) + ")", means, do, commands})
	}
	switch {
	case strings.HasPrefix(d.Name, "zram") || strings.HasPrefix(d.Name, "ram"):
		found(Critical, "a disk in memory", "all of it is gone with the next start of the machine", onDisk)
	case strings.HasPrefix(d.Name, "loop"):
		found(Note, "an image in a file", "what a flush does depends on the file system that the image is in", "", "losetup -l /dev/"+d.Name)
	}
	if d.ReadOnly && !m.Has("ro") {
		found(Critical, "read-only", "nothing can be written", "look at the device", "dmesg | tail", "blockdev --setrw /dev/"+d.Name)
	}
	if d.Virtual {
		found(Note, "a virtual disk", "whether a flush reaches a platter is up to the host: cache=none or writethrough there, never cache=unsafe", "")
	}
	if d.Cache == "write back" && !d.Virtual {
		fua := "without FUA"
		if d.FUA {
			fua = "with FUA"
		}
		found(Note, "write back, "+fua, "the device has a cache, which each flush empties; a drive that only says so loses acknowledged rows in a power cut", "",
			"smartctl -i /dev/"+d.Name)
	}
	if d.Rotational && !d.Virtual {
		found(Note, "rotating", "a flush waits for the platter to come round: about a hundred a second; many writers share one", "")
	}
}
