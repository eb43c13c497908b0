package doctor

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/config"
	"holdfast/internal/disk"
	"holdfast/internal/httpapi"
	"holdfast/test/mounts"
	"holdfast/test/pki"
)

// world is an installation in which nothing is wrong: on a file system of its
// own, with a spool beside, on a machine that leaves both alone.
type world struct {
	t    *testing.T
	dir  string // of the test, in a tmpfs
	at   string // where the volume is mounted
	loop string
	text string // the configuration
	in   Installation
	host Host
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := mounts.WorkDir(t)
	w := &world{t: t, dir: dir, at: filepath.Join(dir, "vol"), host: Host{Root: filepath.Join(dir, "root")}}
	image := mounts.Make(t, dir, 48*mib, "mkfs.ext4", "-q", "-b", "1024", "-N", "2048", "-m", "0", "-J", "size=1")
	f, err := os.OpenFile(image, os.O_RDWR, 0)
	ok(t, err)
	loop := mounts.Attach(t, f)
	ok(t, f.Close())
	t.Cleanup(func() { loop.Close() })
	w.loop = loop.Name()
	ok(t, os.Mkdir(w.at, 0o700))
	ok(t, unix.Mount(w.loop, w.at, "ext4", unix.MS_NOATIME|unix.MS_NODEV|unix.MS_NOSUID, ""))
	t.Cleanup(func() { ok(t, mounts.Unmount(w.at)) })
	for _, sub := range []string{"data", "spool"} {
		ok(t, os.Mkdir(filepath.Join(w.at, sub), 0o700))
	}
	ok(t, os.Mkdir(filepath.Join(dir, "flat"), 0o700))
	w.write("password", "secret\n", 0o600)
	w.etc("updatedb.conf", "PRUNE_BIND_MOUNTS=\"yes\"\nPRUNEPATHS=\"/tmp "+dir+"\"\n")
	w.etc("cron.daily/man-db", "#!/bin/sh\nfind /var/cache/man -type f\n")
	w.etc("tmpfiles.d/tmp.conf", "d /run/lock 1777 root root 10d\n#R "+dir+"\n")
	w.etc("logrotate.d/apt", "/var/log/apt/term.log {\n  rotate 12\n}\n")
	w.etc("systemd/system/holdfast.service", "[Service]\nLimitNOFILE=65536\nTimeoutStopSec=60\nProtectSystem=strict\nReadWritePaths="+dir+"\n")
	w.text = fmt.Sprintf(`data: %s/data
listen: {pg: "127.0.0.1:0", http: "127.0.0.1:0"}
streams: {main: {min_free: 1 MB}, rejects: {min_free: 1 MB}}
sinks:
  billing: {type: postgres, url: "postgres://holdfast@127.0.0.1/billing", password_file: %s/password}
`, w.at, dir)
	w.in = Installation{Dirs: []string{filepath.Join(w.at, "spool")}, LeastFiles: 64, AllFiles: 256}
	w.host.Clock = func() (Clock, error) { return Clock{Now: time.Now(), Synced: true}, nil }
	return w
}

func (w *world) write(name, text string, mode os.FileMode) string {
	w.t.Helper()
	full := filepath.Join(w.dir, name)
	ok(w.t, os.MkdirAll(filepath.Dir(full), 0o700))
	ok(w.t, os.WriteFile(full, []byte(text), mode))
	ok(w.t, os.Chmod(full, mode))
	return full
}

func (w *world) etc(name, text string) { w.write("root/etc/"+name, text, 0o644) }

func (w *world) remount(flags uintptr, options string) {
	w.t.Helper()
	ok(w.t, unix.Mount(w.loop, w.at, "ext4", unix.MS_REMOUNT|flags, options))
}

// examine looks at the world as it is now.
func (w *world) examine() Report {
	w.t.Helper()
	c, err := config.Parse(w.write("holdfast.yaml", w.text, 0o600), []byte(w.text))
	ok(w.t, err)
	w.in.Config = c
	return Examine(w.t.Context(), w.in, &w.host)
}

// has returns what a check found that needs doing.
func has(r Report, check string) (all []Finding) {
	for _, f := range r.Findings {
		if f.Check == check && f.Severity > Note {
			all = append(all, f)
		}
	}
	return all
}

const quiet = unix.MS_NOATIME | unix.MS_NODEV | unix.MS_NOSUID

// TestPlantedFaults plants one fault at a time in a world in which nothing is
// wrong. Each is found, by its check, with the value that was planted; and
// without it that check finds nothing, nor does any other.
func TestPlantedFaults(t *testing.T) {
	for _, test := range []struct {
		name  string
		plant func(w *world)
		check string
		worth Severity
		saw   string
	}{
		{"barriers are off", func(w *world) { w.remount(quiet, "barrier=0") }, "mount-options", Critical, "nobarrier"},
		{"each write is flushed", func(w *world) { w.remount(quiet|unix.MS_SYNCHRONOUS, "") }, "mount-options", Warning, "sync"},
		{"each read writes", func(w *world) { w.remount(unix.MS_NODEV|unix.MS_NOSUID|unix.MS_STRICTATIME, "") }, "mount-options", Warning, "strictatime"},
		{"mounted read-only", func(w *world) { w.remount(quiet|unix.MS_RDONLY, "") }, "mount-options", Critical, "ro at"},
		{"no inodes", (*world).noInodes, "inodes", Critical, "0 of 20"},
		{"no room", (*world).noRoom, "room", Critical, "free"},
		{"in memory", func(w *world) {
			w.mkdir("ram")
			w.replace(w.at+"/data", w.dir+"/ram")
		}, "file-system", Critical, "tmpfs"},
		{"the data directory is open to all", func(w *world) { ok(w.t, os.Chmod(w.at+"/data", 0o777)) }, "modes", Critical, "mode 0777"},
		{"the spool is open to all", func(w *world) { ok(w.t, os.Chmod(w.at+"/spool", 0o733)) }, "modes", Critical, "mode 0733"},
		{"a directory above is open to all", func(w *world) { ok(w.t, os.Chmod(w.at, 0o777)) }, "modes", Critical, "mode 0777, above"},
		{"few descriptors", func(w *world) { w.descriptors(48) }, "limits", Critical, "48 open files"},
		{"not enough descriptors", func(w *world) { w.descriptors(200) }, "limits", Warning, "200 open files"},
		{"a secret for all", func(w *world) { ok(w.t, os.Chmod(w.dir+"/password", 0o644)) }, "secrets", Critical, "mode 0644"},
		{"updatedb comes by", func(w *world) { w.etc("updatedb.conf", "PRUNEPATHS=\"/var/spool /media\"\n") }, "updatedb", Warning, "PRUNEPATHS"},
		{"a job that finds everything", func(w *world) { w.etc("cron.daily/sweep", "#!/bin/sh\nfind / -name core -delete\n") }, "periodic-scans", Warning, "sweep"},
		{"a scanner", func(w *world) { w.etc("cron.weekly/rkhunter", "#!/bin/sh\n") }, "periodic-scans", Warning, "rkhunter"},
		{"old files are removed", func(w *world) { w.etc("tmpfiles.d/vol.conf", "e "+w.at+" - - - 10d\n") }, "tmpfiles", Critical, "vol.conf"},
		{"logrotate moves segments", func(w *world) { w.etc("logrotate.d/all", "# all\n"+w.at+"/*/* "+"{\n daily\n}\n") }, "logrotate", Critical, "logrotate.d/all"},
		{"logrotate cuts flat files", (*world).flatFiles, "logrotate", Critical, "copytruncate"},
		{"on the root file system", (*world).onRoot, "own-file-system", Warning, "root file system"},
		{"the clock runs free", func(w *world) {
			w.host.Clock = func() (Clock, error) { return Clock{Now: time.Now()}, nil }
		}, "clock", Warning, "not synchronised"},
		{"the clock was never set", func(w *world) {
			w.host.Clock = func() (Clock, error) { return Clock{Now: time.Unix(86400, 0), Synced: true}, nil }
		}, "clock", Critical, "1970"},
		{"the clock was set back", func(w *world) {
			later := time.Now().Add(time.Hour)
			w.write("vol/data/LOCK", "", 0o600)
			ok(w.t, os.Chtimes(w.at+"/data/LOCK", later, later))
		}, "clock", Warning, "written"},
		{"the volume is not mounted", func(w *world) { w.in.Dirs = append(w.in.Dirs, w.at+"/away") }, "present", Critical, "missing"},
		{"the stream's volume is not mounted", func(w *world) {
			w.text = strings.Replace(w.text, "{main: {min_free", fmt.Sprintf("{main: {hot: %q, min_free", w.at+"/away==32 MB"), 1)
		}, "present", Critical, "missing"},
		{"a stuck server", (*world).locked, "lock", Critical, "no server answers"},
		{"a port is taken", (*world).taken, "ports", Warning, "in use"},
		{"the service may not write there", func(w *world) { w.etc("systemd/system/holdfast.service", "[Service]\nProtectSystem=strict\n") }, "unit", Critical, "ProtectSystem=strict"},
		{"the service is killed early", func(w *world) {
			w.etc("systemd/system/holdfast.service.d/stop.conf", "[Service]\nTimeoutStopSec=5s\n")
		}, "unit", Warning, "TimeoutStopSec=5s"},
		{"little memory", func(w *world) {
			w.host.Sys = w.dir + "/sys"
			w.memory("48000000\n")
		}, "memory", Critical, "45.8 MB"},
		{"a certificate that ends", (*world).expiring, "certificate", Critical, "expires"},
		{"a halted sink", func(w *world) {
			w.in.Status = &httpapi.Status{Sinks: []httpapi.SinkStatus{{Name: "billing", State: "halted", LastError: "flood", Do: "look at the rejects"}}}
		}, "sinks", Critical, "flood"},
		{"a held source", func(w *world) {
			w.in.Status = &httpapi.Status{Sources: []httpapi.SourceStatus{{Name: "calls", State: "held", LastError: "columns do not fit"}}}
		}, "sources", Critical, "columns do not fit"},
		{"logrotate cuts what is followed", (*world).followed, "logrotate", Critical, "copytruncate"},
		{"a full stream", func(w *world) {
			w.in.Status = &httpapi.Status{Streams: []httpapi.StreamStatus{{Name: "main", State: "full", Error: "its budget is used up"}}}
		}, "streams", Critical, "budget is used up"},
		{"rejects", func(w *world) {
			w.in.Status = &httpapi.Status{Sinks: []httpapi.SinkStatus{{Name: "billing", State: "idle", RejectsOpen: 9000}}}
		}, "rejects", Warning, "9000"},
		{"an hour is left", func(w *world) {
			w.in.Status = &httpapi.Status{Streams: []httpapi.StreamStatus{{Name: "main", State: "ok", Bytes: 20 << 30, ReplaySince: time.Now().Add(-time.Hour)}},
				Sinks: []httpapi.SinkStatus{{Name: "billing", Stream: "main", State: "delivering", LagBytes: 20 << 30}}}
		}, "room", Warning, "enough for"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			if r := w.examine(); r.Wrong() {
				t.Fatalf("something is wrong before: %+v", r.Findings)
			}
			test.plant(w)
			r := w.examine()
			found := has(r, test.check)
			hit := slices.ContainsFunc(found, func(f Finding) bool {
				return f.Severity == test.worth && strings.Contains(f.Saw, test.saw) && f.Means != "" && f.Do != "" && f.Subject != ""
			})
			if !hit {
				t.Errorf("%q is not found as %s: %+v", test.saw, test.worth, r.Findings)
			}
			if !r.Wrong() || r.Findings[0].Severity < test.worth {
				t.Errorf("it does not come first: %+v", r.Findings)
			}
		})
	}
}

func (w *world) mkdir(name string) { ok(w.t, os.Mkdir(filepath.Join(w.dir, name), 0o700)) }

func (w *world) replace(from, to string) { w.text = strings.ReplaceAll(w.text, from, to) }

// noInodes makes files until there is no inode left.
func (w *world) noInodes() {
	for n := 0; ; n++ {
		f, err := os.Create(filepath.Join(w.at, "spool", fmt.Sprint(n)))
		if errors.Is(err, unix.ENOSPC) {
			return
		}
		ok(w.t, err)
		ok(w.t, f.Close())
	}
}

func (w *world) noRoom() {
	fs, err := disk.OpenExisting(w.at)
	ok(w.t, err)
	defer fs.Close()
	s, err := fs.Space()
	ok(w.t, err)
	f, err := os.Create(filepath.Join(w.at, "spool", "large"))
	ok(w.t, err)
	defer f.Close()
	ok(w.t, unix.Fallocate(int(f.Fd()), 0, 0, s.Free-mib/2))
}

// descriptors bounds those of this process, which is what a doctor without a
// server looks at.
func (w *world) descriptors(n uint64) {
	var old unix.Rlimit
	ok(w.t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	w.t.Cleanup(func() { ok(w.t, unix.Setrlimit(unix.RLIMIT_NOFILE, &old)) })
	ok(w.t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: old.Max}))
}

func (w *world) flatFiles() {
	w.text += "  files: {type: flat, url: \"flatstore:" + w.dir + "/flat\"}\n"
	w.mount(w.dir + "/flat")
	w.etc("logrotate.d/acc", w.dir+"/flat/*.log {\n  copytruncate\n  daily\n}\n")
}

func (w *world) followed() {
	w.text += "sources:\n  calls: {type: flatstore, url: \"flatstore:" + w.dir + "/flat\", columns: {acc: [a]}}\n"
	w.mount(w.dir + "/flat")
	w.etc("logrotate.d/acc", w.dir+"/flat/*.log {\n  copytruncate\n}\n")
}

// mount puts the volume under dir once more.
func (w *world) mount(dir string) {
	ok(w.t, unix.Mount(w.at, dir, "", unix.MS_BIND, ""))
	w.t.Cleanup(func() { ok(w.t, mounts.Unmount(dir)) })
}

// onRoot lets the kernel's list say that everything lies on /.
func (w *world) onRoot() {
	w.host.Proc = filepath.Join(w.dir, "proc")
	w.write("proc/self/mountinfo", "1 1 254:0 / / rw,noatime - ext4 /dev/vda rw\n", 0o600)
}

func (w *world) memory(most string) {
	w.host.Proc = filepath.Join(w.dir, "proc")
	mountinfo, err := os.ReadFile("/proc/self/mountinfo")
	ok(w.t, err)
	w.write("proc/self/mountinfo", string(mountinfo), 0o600)
	w.write("proc/self/cgroup", "0::/system.slice/holdfast.service\n", 0o600)
	w.write("sys/fs/cgroup/system.slice/memory.max", most, 0o600)
	w.write("sys/fs/cgroup/system.slice/holdfast.service/memory.max", "max\n", 0o600)
}

// locked holds the lock as a server does that does not answer.
func (w *world) locked() {
	fs, err := disk.OpenExisting(w.at + "/data")
	ok(w.t, err)
	lock, err := fs.Lock("LOCK")
	ok(w.t, err)
	w.t.Cleanup(func() { ok(w.t, errors.Join(lock.Close(), fs.Close())) })
}

func (w *world) taken() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ok(w.t, err)
	w.t.Cleanup(func() { l.Close() })
	w.replace(`pg: "127.0.0.1:0"`, fmt.Sprintf("pg: %q", l.Addr()))
}

func (w *world) expiring() {
	cert, key := pki.New(w.t, "ca").Issue("localhost", time.Now().Add(24*time.Hour))
	w.text += fmt.Sprintf("tls: {cert: %q, key: %q}\n", cert, key)
}

// TestOnlyNamed looks at a directory alone, as before a spool has a server.
func TestOnlyNamed(t *testing.T) {
	w := newWorld(t)
	r := Examine(t.Context(), Installation{Dirs: w.in.Dirs, Write: true}, &w.host)
	if r.Count(Critical) > 0 || len(r.Places) != 1 {
		t.Fatalf("%+v", r)
	}
	p := r.Places[0]
	if p.Use != "directory" || p.FileSystem != "ext4" || p.Mount != w.at || p.Files < 2048 || p.FreeFiles == 0 || p.Free == 0 || p.FlushP50 <= 0 || p.FlushP99 < p.FlushP50 {
		t.Errorf("%+v", p)
	}
	if left, err := os.ReadDir(w.in.Dirs[0]); err != nil || len(left) > 0 {
		t.Errorf("%v, left behind are %v", err, left)
	}
	for _, check := range []string{"file-system", "mount-options", "device", "room", "inodes", "modes", "updatedb", "tmpfiles", "clock", "flush"} {
		if !slices.Contains(r.Checks, check) {
			t.Errorf("%q was not checked: %q", check, r.Checks)
		}
	}
}

// TestNothingThere holds that what is missing, or may not be read, is told and
// ends nothing.
func TestNothingThere(t *testing.T) {
	empty := t.TempDir()
	host := &Host{Root: empty, Proc: empty, Sys: empty, Clock: func() (Clock, error) { return Clock{}, errors.ErrUnsupported }}
	c := config.Default()
	ok(t, c.Override(config.Override{Data: filepath.Join(empty, "a", "b"), PG: "127.0.0.1:0", HTTP: "127.0.0.1:0"}))
	r := Examine(t.Context(), Installation{Config: c, Dirs: []string{empty + "/none"}, Write: true}, host)
	if got := has(r, "present"); len(got) == 0 || got[0].Subject != empty+"/none" {
		t.Errorf("%+v", r)
	}
	if _, err := os.Stat(c.Data); err == nil {
		t.Error("the doctor made the data directory")
	}
}
