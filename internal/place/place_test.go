package place

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/internal/disk"
)

// data returns a data directory.
func data(t *testing.T) *disk.Real {
	t.Helper()
	d, err := disk.OpenReal(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// use opens a directory as a start does, closes it, and returns its ID.
func use(t *testing.T, d disk.FS, w Want) (string, error) {
	t.Helper()
	b, err := OpenBook(d)
	if err != nil {
		t.Fatal(err)
	}
	p, err := b.Open(w)
	if err != nil {
		return "", err
	}
	if !b.Knows(p.ID) {
		t.Error("what is open is not in the book")
	}
	return p.ID, p.Close()
}

func refused(t *testing.T, err error, why string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), why) {
		t.Errorf("got %v, want %q", err, why)
	}
}

// TestWhatIsNotMounted holds that a directory without what was there before is
// refused, whether its name is there or not, and so is another's.
func TestWhatIsNotMounted(t *testing.T) {
	d, dir := data(t), t.TempDir()
	w := Want{Path: filepath.Join(dir, "a"), Stream: "main", Tier: "hot"}
	_, err := use(t, d, Want{Path: w.Path, Stream: "main", Tier: "hot", Exist: true})
	refused(t, err, "is missing") // written with ==
	id, err := use(t, d, w)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := use(t, d, w); err != nil || again != id {
		t.Fatalf("the same directory is %q, then %q: %v", id, again, err)
	}
	_, err = use(t, data(t), w)
	refused(t, err, "belongs to another data directory")
	_, err = use(t, d, Want{Path: w.Path, Stream: "other", Tier: "hot"})
	refused(t, err, `of stream "main"`)
	_, err = use(t, d, Want{Path: w.Path, Stream: "main", Tier: "warm"})
	refused(t, err, "of the hot tier")

	moved := Want{Path: filepath.Join(dir, "b"), Stream: "main", Tier: "hot"}
	if err := os.Rename(w.Path, moved.Path); err != nil {
		t.Fatal(err)
	}
	_, err = use(t, d, w)
	refused(t, err, "is missing") // though a single = makes what is new
	if err := os.Mkdir(w.Path, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err = use(t, d, w)
	refused(t, err, "is not the one that was used") // an empty mount point
	if left, err := os.ReadDir(w.Path); err != nil || len(left) != 0 {
		t.Errorf("a start that was refused leaves %v in the mount point: %v", left, err)
	}
	if again, err := use(t, d, moved); err != nil || again != id {
		t.Errorf("mounted elsewhere it is %q, was %q: %v", again, id, err)
	}
	if _, err := use(t, d, w); err != nil {
		t.Errorf("a path that belongs to nobody any more is refused: %v", err)
	}
}

// TestLocked holds that no two use a directory at the same time.
func TestLocked(t *testing.T) {
	d, w := data(t), Want{Path: t.TempDir(), Stream: "main", Tier: "warm"}
	b, err := OpenBook(d)
	if err != nil {
		t.Fatal(err)
	}
	p, err := b.Open(w)
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Open(w)
	refused(t, err, "in use by another process")
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if p, err = b.Open(w); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestGivenUp holds that an entry that somebody took out of the book is not
// known any more, and that a book which cannot be read refuses a start.
func TestGivenUp(t *testing.T) {
	d, w := data(t), Want{Path: t.TempDir(), Stream: "main", Tier: "warm"}
	id, err := use(t, d, w)
	if err != nil {
		t.Fatal(err)
	}
	b, err := OpenBook(d)
	if err != nil || !b.Knows(id) {
		t.Fatalf("the book has lost %q: %v", id, err)
	}
	b.f.Directories = nil
	if err := b.save(); err != nil {
		t.Fatal(err)
	}
	if b, err = OpenBook(d); err != nil || b.Knows(id) {
		t.Fatalf("the book knows %q: %v", id, err)
	}
	if err := disk.Replace(d, "", bookName, []byte("{")); err != nil {
		t.Fatal(err)
	}
	_, err = OpenBook(d)
	refused(t, err, "cannot be read")
}
