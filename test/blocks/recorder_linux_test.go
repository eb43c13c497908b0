package blocks

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// The log of a recorder is a file to which each write and each flush of the
// image is appended when it arrives: an offset and a length, 8 bytes each, and
// the data. A length of zero is a flush. How long the log is tells the time.
const entryHead = 16

// imageNode is the inode of the one file that the recorder shows.
const imageNode = fuse.FUSE_ROOT_ID + 1

// recorder is a file system of one file, named image, which answers from the
// real image and logs what changes it. A flush covers all that arrived before
// it, as the flush of a disk does.
type recorder struct {
	fuse.RawFileSystem
	image *os.File
	size  uint64

	mu  sync.Mutex // one order, in the log as in the image
	log *os.File
}

// record serves the recorder of an image until standard input ends. It is a
// process of its own: whoever waits for a write to the file system above must
// not be the one who has to answer it, or nobody could end either of them.
func record(image string) error {
	f, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(image+".log", os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	r := &recorder{RawFileSystem: fuse.NewDefaultRawFileSystem(), image: f, size: uint64(info.Size()), log: log}
	at := image + ".recorded"
	s, err := fuse.NewServer(r, at, &fuse.MountOptions{DirectMountStrict: true, FsName: "recorder", MaxWrite: 1 << 20, DisableXAttrs: true})
	if err != nil {
		return err
	}
	go s.Serve()
	if err := s.WaitMount(); err != nil {
		return err
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return unix.Unmount(at, unix.MNT_DETACH) // what still hangs on it goes with this process
}

// append logs one change and makes it.
func (r *recorder) append(off int64, data []byte) fuse.Status {
	b := binary.LittleEndian.AppendUint64(make([]byte, 0, entryHead+len(data)), uint64(off))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(data)))
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, err := r.log.Write(append(b, data...)); err != nil {
		return fuse.ToStatus(err)
	}
	_, err := r.image.WriteAt(data, off)
	return fuse.ToStatus(err)
}

func (r *recorder) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	return uint32(len(data)), r.append(int64(in.Offset), data)
}

func (r *recorder) Writev(_ <-chan struct{}, in *fuse.WriteIn, data [][]byte) (uint32, fuse.Status) {
	var whole []byte
	for _, d := range data {
		whole = append(whole, d...)
	}
	return r.Write(nil, in, whole)
}

func (r *recorder) Fsync(<-chan struct{}, *fuse.FsyncIn) fuse.Status { return r.append(0, nil) }

func (r *recorder) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	n, err := r.image.ReadAt(buf, int64(in.Offset))
	if err != nil && err != io.EOF {
		return nil, fuse.ToStatus(err)
	}
	return fuse.ReadResultData(buf[:n]), fuse.OK
}

// Open has the kernel keep nothing of the image, so that each write comes here
// before it is said to be done.
func (r *recorder) Open(_ <-chan struct{}, _ *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	out.OpenFlags = fuse.FOPEN_DIRECT_IO
	return fuse.OK
}

func (r *recorder) Release(<-chan struct{}, *fuse.ReleaseIn)           {}
func (r *recorder) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status   { return fuse.OK }
func (r *recorder) Access(<-chan struct{}, *fuse.AccessIn) fuse.Status { return fuse.OK }

func (r *recorder) Lookup(_ <-chan struct{}, _ *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	if name != "image" {
		return fuse.ENOENT
	}
	out.NodeId = imageNode
	r.describe(imageNode, &out.Attr)
	return fuse.OK
}

func (r *recorder) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	r.describe(in.NodeId, &out.Attr)
	return fuse.OK
}

func (r *recorder) describe(node uint64, a *fuse.Attr) {
	a.Ino, a.Nlink, a.Mode = node, 1, fuse.S_IFDIR|0o700
	if node == imageNode {
		a.Mode, a.Size = fuse.S_IFREG|0o600, r.size
	}
}

// startRecorder starts a recorder of an image and returns the file to work on,
// and its log as it grows.
func startRecorder(t *testing.T, image string) (recorded, log *os.File) {
	t.Helper()
	at := image + ".recorded"
	ok(t, os.Mkdir(at, 0o700))
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), recorderVar+"="+image)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	ok(t, err)
	out, err := cmd.StdoutPipe()
	ok(t, err)
	ok(t, cmd.Start())
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the recorder: %v", err)
		}
	})
	if _, err := io.ReadFull(out, make([]byte, len("ready"))); err != nil {
		t.Fatalf("the recorder does not start: %v", err)
	}
	recorded, err = os.OpenFile(filepath.Join(at, "image"), os.O_RDWR, 0)
	ok(t, err)
	t.Cleanup(func() { recorded.Close() })
	log, err = os.Open(image + ".log")
	ok(t, err)
	t.Cleanup(func() { log.Close() })
	return recorded, log
}
