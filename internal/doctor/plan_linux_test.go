package doctor

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdfast"
	"holdfast/internal/config"
	"holdfast/internal/disk"
	"holdfast/test/mounts"
)

func TestMain(m *testing.M) { mounts.Main(m) }

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// planned makes a plan whose device is an image of exactly the planned size, and
// the file system by exactly the printed line.
func planned(t *testing.T, dir string, n Need) *Plan {
	t.Helper()
	n.Device, n.Mount = filepath.Join(dir, "device.img"), "/srv/planned"
	p, err := MakePlan(n)
	ok(t, err)
	mkfs := strings.Fields(p.Mkfs)
	mounts.Need(t, mkfs[0])
	f, err := os.Create(n.Device)
	ok(t, err)
	ok(t, f.Truncate(p.Size))
	ok(t, f.Close())
	mounts.Run(t, mkfs...)
	return p
}

// mountPlanned mounts it with the printed options, and returns where.
func mountPlanned(t *testing.T, dir string, p *Plan) string {
	t.Helper()
	f, err := os.OpenFile(p.Need.Device, os.O_RDWR, 0)
	ok(t, err)
	loop := mounts.Attach(t, f)
	ok(t, f.Close())
	t.Cleanup(func() { loop.Close() })
	at := filepath.Join(dir, "mnt")
	ok(t, os.Mkdir(at, 0o700))
	var flags uintptr
	for word := range strings.SplitSeq(p.Options, ",") {
		flag, known := map[string]uintptr{"noatime": unix.MS_NOATIME, "nodev": unix.MS_NODEV, "nosuid": unix.MS_NOSUID, "noexec": unix.MS_NOEXEC}[word]
		if !known {
			t.Fatalf("the plan has the mount option %q, which this test does not know", word)
		}
		flags |= flag
	}
	ok(t, unix.Mount(loop.Name(), at, p.Need.FS, flags, ""))
	t.Cleanup(func() { ok(t, mounts.Unmount(at)) })
	return at
}

// fill puts files of size bytes below at, in the order and under names such as
// a Maildir has, and returns how many there was room for.
func fill(at string, files, size int64) (int64, error) {
	content := bytes.Repeat([]byte("x"), int(size))
	tmp := filepath.Join(at, "tmp")
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return 0, err
	}
	dir := ""
	for n := range files {
		if n%perDir == 0 {
			dir = filepath.Join(at, fmt.Sprintf("%08x", n))
			if err := os.Mkdir(dir, 0o700); err != nil {
				return n, err
			}
		}
		if n%2000 == 1999 { // as if each had been flushed, so that nothing is only promised room
			if err := syncfs(at); err != nil {
				return n, err
			}
		}
		name := fmt.Sprintf("1795218472.M%06dP12345Q%07d.collector.example", n%1e6, n)
		if err := os.WriteFile(filepath.Join(tmp, name), content, 0o600); err != nil {
			return n, err
		}
		if err := os.Rename(filepath.Join(tmp, name), filepath.Join(dir, name)); err != nil {
			return n, err
		}
	}
	return files, nil
}

func syncfs(at string) error {
	d, err := os.Open(at)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(d.Fd())), d.Close())
}

// TestPlanHolds makes file systems by the printed line, on exactly the planned
// size, and puts in what was planned for: it fits, and less than half of the
// partition is left over.
func TestPlanHolds(t *testing.T) {
	long := os.Getenv("HOLDFAST_LONG") != ""
	for _, test := range []struct {
		name string
		long bool // takes long
		need Need
	}{
		{"ext4, in inodes of 512", false, Need{RowsPerSecond: 400, RowSize: 200}},
		{"ext4, in inodes of 512, many", true, Need{RowsPerSecond: 10_000, RowSize: 200}},
		{"ext4, in inodes of 1024", false, Need{RowsPerSecond: 300, RowSize: 800}},
		{"ext4, small blocks", false, Need{RowsPerSecond: 200, RowSize: 1500}},
		{"ext4, large blocks", false, Need{RowsPerSecond: 100, RowSize: 7000}},
		{"ext4, a hundred rows a file", false, Need{RowsPerSecond: 8_000, RowSize: 200, FilesPerRow: 0.01}},
		{"xfs, small blocks", true, Need{FS: "xfs", RowsPerSecond: 2000, RowSize: 200}},
		{"xfs, large blocks", false, Need{FS: "xfs", RowsPerSecond: 400, RowSize: 7000}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.long && !long {
				t.Skip("HOLDFAST_LONG=1 runs it")
			}
			dir := mounts.WorkDir(t)
			test.need.For, test.need.Outage = ForSpool, time.Minute
			if test.need.FS == "" {
				test.need.FS = "ext4"
			}
			p := planned(t, dir, test.need)
			at := mountPlanned(t, dir, p)
			held, err := fill(at, p.Files, p.Bytes)
			if err != nil {
				t.Errorf("planned for %d files of %d bytes on %d, and the volume took %d: %v\n%s", p.Files, p.Bytes, p.Size, held, err, p.Mkfs)
			}
			fs, err := disk.OpenExisting(at)
			ok(t, err)
			defer fs.Close()
			left, err := fs.Space()
			ok(t, err)
			if left.Free > p.Size/2 {
				t.Errorf("%d of %d bytes are left over: the plan wastes most of them", left.Free, p.Size)
			}
			if p.Need.FS == "ext4" && left.FreeFiles > p.Inodes/5+2000 {
				t.Errorf("%d of %d inodes are left over", left.FreeFiles, p.Inodes)
			}
			t.Logf("%d files of %d bytes on %d, %d left over", held, p.Bytes, p.Size, left.Free)
		})
	}
}

// TestPlanMakes asks mkfs whether what it makes of larger plans has the room
// that was planned, without filling it.
func TestPlanMakes(t *testing.T) {
	mounts.Need(t, "dumpe2fs")
	for _, test := range []struct {
		rate float64
		size int64
		last time.Duration
		each float64
	}{
		{100, 200, time.Hour, 1}, {100, 200, 10 * time.Hour, 1}, {500, 600, time.Hour, 1}, {50, 3000, 8 * time.Hour, 1}, {1, 1, time.Second, 1},
		{100, 10_000, time.Hour, 1}, {20_000, 200, 24 * time.Hour, 0.001}, {3, 1 << 20, 4 * time.Hour, 1}, {100, 1024, time.Hour, 2},
	} {
		p := planned(t, mounts.WorkDir(t), Need{For: ForSpool, FS: "ext4", RowsPerSecond: test.rate, RowSize: test.size, Outage: test.last, FilesPerRow: test.each})
		out, err := exec.Command("dumpe2fs", "-h", p.Need.Device).CombinedOutput()
		ok(t, err)
		value := func(name string) int64 {
			m := regexp.MustCompile(`(?m)^` + name + `: +(\d+)$`).FindSubmatch(out)
			if m == nil {
				t.Fatalf("dumpe2fs does not tell %q:\n%s", name, out)
			}
			n, err := strconv.ParseInt(string(m[1]), 10, 64)
			ok(t, err)
			return n
		}
		block := value("Block size")
		free := (value("Free blocks") - min(value("Block count")/50, 4096)) * block
		content := p.Files * up(p.Bytes, block)
		if strings.Contains(p.Mkfs, "inline_data") {
			content = 0
		}
		if need := content + p.Files*entryBytes; free < need {
			t.Errorf("%+v: %d bytes are free of %d, and the files need %d", test, free, p.Size, need)
		}
		if inodes := value("Free inodes"); inodes < p.Files+p.dirs() {
			t.Errorf("%+v: %d inodes are free for %d files", test, inodes, p.Files)
		}
		if value("Reserved block count") != 0 {
			t.Errorf("%+v: blocks are kept for root", test)
		}
	}
}

// TestPlanStream gives a stream the planned partition and the printed budget, and
// commits every row of the outage alone: none has to go, and none is refused.
func TestPlanStream(t *testing.T) {
	for _, fs := range []string{"ext4", "xfs"} {
		t.Run(fs, func(t *testing.T) {
			dir := mounts.WorkDir(t)
			p := planned(t, dir, Need{For: ForStream, FS: fs, RowsPerSecond: 1000, RowSize: 200, Outage: 16 * time.Second})
			at := mountPlanned(t, dir, p)
			ok(t, os.Mkdir(filepath.Join(at, "rows"), 0o700))
			c, err := config.Parse("planned.yaml", []byte("data: "+dir+"/data\n"+strings.Replace(p.Config, p.Need.Mount, at, 1)))
			ok(t, err)
			main := c.Streams["main"]
			db, err := holdfast.Open(c.Data, holdfast.Options{Streams: []holdfast.Stream{{Name: "main", Dir: main.Hot.Path, Exists: main.Hot.Exist,
				Limits: holdfast.Limits{Budget: int64(main.Hot.Size), MinFree: main.MinFree.Of, Wait: time.Minute}}}})
			ok(t, err)
			defer db.Close()
			value := strings.Repeat("x", 25)
			columns := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
			for n := range p.Rows {
				if err := db.Insert(t.Context(), "calls", columns, value, value, value, value, value, value, value, value); err != nil {
					t.Fatalf("row %d of %d: %v", n+1, p.Rows, err)
				}
			}
			for _, s := range db.Status().Streams {
				if s.Name == "main" && (s.FirstSeq != 1 || s.EndSeq != uint64(p.Rows)) {
					t.Errorf("rows %d to %d are there of %d", s.FirstSeq, s.EndSeq, p.Rows)
				}
				if s.Name == "main" && fs == "ext4" && s.Bytes < p.Size/2 { // an XFS has 300 MiB at least
					t.Errorf("the rows take %d bytes of %d", s.Bytes, p.Size)
				}
			}
		})
	}
}

// TestPlanFFS holds the arithmetic of FFS against what df told the author of the
// article, and the plan against his line.
func TestPlanFFS(t *testing.T) {
	const size, inodes, told = 4354560 * 512, 4196093 + 3, 1649195 << 10
	if got := ffsUsable(size, inodes); got < told*995/1000 || got > told*1005/1000 {
		t.Errorf("usable are %d bytes, and df told %d", got, told)
	}
	// His partition is full at three million files of 200 bytes.
	p, err := MakePlan(Need{For: ForSpool, FS: "ffs", RowsPerSecond: 25, RowSize: 200, Outage: 28 * time.Hour, Device: "/dev/rwd0n", Mount: "/n/powerlog2"})
	ok(t, err)
	if want := fmt.Sprintf("newfs -f 512 -b 4096 -n %d /dev/rwd0n", p.Inodes); p.Mkfs != want || p.Files < 3_000_000 || p.Inodes < p.Files || p.Inodes > p.Files*11/10 {
		t.Errorf("%q for %d files, want %q", p.Mkfs, p.Files, want)
	}
	if p.Size < size*9/10 || p.Size > size*5/4 {
		t.Errorf("%d bytes are planned for what filled %d", p.Size, size)
	}
	if p.Fstab != "/dev/wd0n /n/powerlog2 ffs rw,noatime,log,noauto 0 0" {
		t.Errorf("the line is %q", p.Fstab)
	}
}
