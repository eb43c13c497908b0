package segment

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"holdfast/internal/disk"
)

// fileWriter writes to a file of d, page by page.
type fileWriter struct {
	f  disk.File
	at int64
}

func (w *fileWriter) Write(b []byte) (int, error) {
	err := w.f.WriteAt(b, w.at)
	w.at += int64(len(b))
	return len(b), err
}

// packed packs content, and returns the file.
func packed(t testing.TB, d disk.FS, content []byte) (disk.File, Packed) {
	t.Helper()
	in, err := d.Create("in")
	ok(t, err)
	buf := disk.Buffer(len(content))
	copy(buf, content)
	ok(t, in.WriteAt(buf, 0))
	ok(t, in.Truncate(int64(len(content))))
	out, err := d.Create("out")
	ok(t, err)
	p, n, err := Pack(in, &fileWriter{f: out})
	ok(t, err)
	size, err := out.Size()
	ok(t, err)
	if size != n || n%disk.Align != 0 || n > PackedRoom(int64(len(content))) {
		t.Fatalf("%d bytes are packed into %d, told are %d", len(content), size, n)
	}
	ok(t, in.Close())
	return out, p
}

func contentOf(t testing.TB, f disk.File) []byte {
	t.Helper()
	size, err := f.Size()
	ok(t, err)
	buf := disk.Buffer(int(size) + 1)
	n, err := f.ReadAt(buf, 0)
	if err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return buf[:min(n, int(size))]
}

// layouts are contents of several sizes and kinds.
func layouts() map[string][]byte {
	r := rand.New(rand.NewPCG(1, 1))
	noise := make([]byte, 5*packedFrame+12345)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	return map[string][]byte{
		"empty": nil, "a page": make([]byte, disk.Align), "a frame": bytes.Repeat([]byte("frame"), packedFrame/5+1)[:packedFrame],
		"rows": bytes.Repeat([]byte("INVITE sip:bob@example.org "), 40000), "noise": noise,
	}
}

// TestPack packs and reads back, at any place, what was packed; zstd does so too.
func TestPack(t *testing.T) {
	for name, content := range layouts() {
		t.Run(name, func(t *testing.T) {
			d, err := disk.OpenReal(t.TempDir())
			ok(t, err)
			defer d.Close()
			f, p := packed(t, d, content)
			defer f.Close()
			u, err := Unpack(f)
			ok(t, err)
			ok(t, u.Check())
			if got := contentOf(t, u); !bytes.Equal(got, content) || u.Index.SHA256 != p.SHA256 {
				t.Fatalf("%d bytes come back as %d others", len(content), len(got))
			}
			r := rand.New(rand.NewPCG(2, 2))
			for range 50 {
				off := r.Int64N(int64(len(content)/disk.Align)+2) * disk.Align
				buf := disk.Buffer(1 + r.IntN(4*packedFrame))
				n, err := u.ReadAt(buf, off)
				want := content[min(int(off), len(content)):]
				want = want[:min(len(want), len(buf))]
				if !bytes.Equal(buf[:n], want) || (n < len(buf)) != (err == io.EOF) {
					t.Fatalf("%d bytes at %d: %d, %v", len(buf), off, n, err)
				}
			}
		})
	}
}

// TestPackForZstd has zstd itself unpack a file.
func TestPackForZstd(t *testing.T) {
	if _, err := exec.LookPath("zstd"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("zstd is missing")
		}
		t.Skip("zstd is missing: nothing shows that it unpacks segments")
	}
	for name, content := range layouts() {
		dir := t.TempDir()
		d, err := disk.OpenReal(dir)
		ok(t, err)
		f, _ := packed(t, d, content)
		ok(t, f.Close())
		ok(t, d.Close())
		got, err := exec.Command("zstd", "-dc", filepath.Join(dir, "out")).Output()
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: zstd makes %d bytes of %d: %v", name, len(got), len(content), err)
		}
	}
}

// TestPackedDamage flips each of many bits: what is read is right, or zeros of
// one frame, and never anything else; Check says so.
func TestPackedDamage(t *testing.T) {
	d := disk.NewMem()
	content := layouts()["rows"]
	f, _ := packed(t, d, content)
	whole := append([]byte(nil), contentOf(t, f)...)
	r := rand.New(rand.NewPCG(3, 3))
	for range 300 {
		bit := r.IntN(8 * len(whole))
		if r.IntN(4) == 0 { // the index
			bit = 8*len(whole) - 1 - r.IntN(8*disk.Align)
		}
		buf := disk.Buffer(len(whole))
		copy(buf, whole)
		buf[bit/8] ^= 1 << (bit % 8)
		ok(t, f.WriteAt(buf, 0))
		u, err := Unpack(f)
		ok(t, err)
		got, wrong := contentOf(t, u), map[int]bool{}
		for i := range got {
			if got[i] != content[i] {
				if got[i] != 0 {
					t.Fatalf("bit %d: byte %d is made up", bit, i)
				}
				wrong[i/packedFrame] = true
			}
		}
		if len(wrong) > 1 || len(got) != len(content) || len(wrong) > 0 != (u.Check() != nil) {
			t.Fatalf("bit %d: %d frames are lost, %v", bit, len(wrong), u.Check())
		}
	}
}

// FuzzUnpack holds that no file makes Unpack panic, or take memory that its
// size does not account for.
func FuzzUnpack(f *testing.F) {
	d := disk.NewMem()
	whole, _ := packed(f, d, layouts()["a page"])
	f.Add(append([]byte(nil), contentOf(f, whole)...), uint32(0))
	f.Fuzz(func(t *testing.T, b []byte, n uint32) {
		d := disk.NewMem()
		file, err := d.Create("x")
		ok(t, err)
		buf := disk.Buffer(len(b))
		copy(buf, b)
		if len(buf) >= disk.Align { // as if its trailer were right
			off := int64(n) % int64(len(buf))
			length := max(0, min(int64(len(buf))-off-trailerSize, int64(n>>16)))
			putTrailer(buf[len(buf)-trailerSize:], packedMagic, off, buf[off:][:length])
			ok(t, file.WriteAt(buf, 0))
		}
		if u, err := Unpack(file); err == nil {
			_ = u.Check()
		}
	})
}
