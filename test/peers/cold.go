package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/disk"
	"holdfast/internal/journal"
)

// cold is how fast a journal is read back from the disk, against the disk
// itself: the same files, read with O_DIRECT from end to end, nothing looked at.
type cold struct {
	Bytes   int64   `json:"bytes"`
	Rows    int     `json:"rows"`
	Reader  spread  `json:"reader_mb_s"`
	Disk    spread  `json:"disk_mb_s"` // with the request size and depth that are fastest
	Request int     `json:"disk_request"`
	Depth   int     `json:"disk_depth"`
	Ratio   spread  `json:"ratio"`
	All     []plain `json:"disk_all"`
}

// plain is one way to read the disk.
type plain struct {
	Request int    `json:"request"`
	Depth   int    `json:"depth"`
	MBs     spread `json:"mb_s"`
	rates   []float64
}

// megabyte is a million bytes, as disks are sold.
const megabyte = 1e6

// readCold fills a journal with size bytes, closes it, and reads it in rounds:
// the disk in each way, then Holdfast. Nothing of it is in memory: it was
// written around the page cache, what is there nonetheless is dropped before
// each reading, and the journal is opened anew.
func readCold(dir string, size int64, rounds int) (*cold, error) {
	dir = filepath.Join(dir, "cold")
	c := &cold{}
	var err error
	if c.Rows, err = fill(dir, size); err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no segments in %q: %w", dir, err)
	}
	for _, request := range []int{256 << 10, 1 << 20, 4 << 20} {
		for _, depth := range []int{1, 2} {
			c.All = append(c.All, plain{Request: request, Depth: depth})
		}
	}
	var reader []float64
	for range rounds {
		for i := range c.All {
			p := &c.All[i]
			rate, err := p.read(files)
			if err != nil {
				return nil, err
			}
			p.rates = append(p.rates, rate)
		}
		rate, err := c.readJournal(dir, files)
		if err != nil {
			return nil, err
		}
		reader = append(reader, rate)
	}
	for i := range c.All {
		c.All[i].MBs = spreadOf(c.All[i].rates)
	}
	best := slices.MaxFunc(c.All, func(a, b plain) int { return int(a.MBs.Median - b.MBs.Median) })
	c.Request, c.Depth, c.Disk, c.Reader = best.Request, best.Depth, best.MBs, spreadOf(reader)
	var ratios []float64
	for i := range reader {
		ratios = append(ratios, reader[i]/best.rates[i])
	}
	c.Ratio = spreadOf(ratios)
	return c, nil
}

// fill writes the journal and returns how many rows it has.
func fill(dir string, size int64) (rows int, err error) {
	j, d, err := openAt(dir, journal.Limits{})
	if err != nil {
		return 0, err
	}
	write, records := journalWriter(j), sameRecords(1000)
	for int64(rows)*recordSize < size && err == nil {
		if err = write(records); err == nil {
			rows += len(records)
		}
	}
	return rows, errors.Join(err, j.Close(), d.Close())
}

// drop makes the kernel forget what it has of files.
func drop(files []string) error {
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		if err := errors.Join(unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// readJournal reads every row with every checksum, and returns MB/s on disk.
func (c *cold) readJournal(dir string, files []string) (rate float64, err error) {
	if err := drop(files); err != nil {
		return 0, err
	}
	j, d, err := openAt(dir, journal.Limits{})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, j.Close(), d.Close()) }()
	started := time.Now()
	r, err := j.Reader(1)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	rows, bytes := 0, int64(0)
	for rows < c.Rows {
		b, err := r.Next(context.Background())
		if err != nil {
			return 0, err
		}
		if len(b.Damage) > 0 {
			return 0, fmt.Errorf("read back: %v", b.Damage[0])
		}
		rows += len(b.Rows)
		bytes += b.Bytes
	}
	took := time.Since(started)
	if rows != c.Rows {
		return 0, fmt.Errorf("read back %d rows of %d", rows, c.Rows)
	}
	c.Bytes = bytes
	return float64(bytes) / megabyte / took.Seconds(), nil
}

// read reads the files one after the other, with depth requests at a time.
func (p *plain) read(files []string) (float64, error) {
	if err := drop(files); err != nil {
		return 0, err
	}
	bufs := make([][]byte, p.Depth)
	for i := range bufs {
		bufs[i] = disk.Buffer(p.Request)
	}
	started, total := time.Now(), int64(0)
	for _, name := range files {
		f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_DIRECT, 0)
		if err != nil {
			return 0, err
		}
		n, err := readFile(f, bufs)
		total += n
		if err = errors.Join(err, f.Close()); err != nil {
			return 0, err
		}
	}
	return float64(total) / megabyte / time.Since(started).Seconds(), nil
}

// readFile reads f from end to end, a request per buffer at a time.
func readFile(f *os.File, bufs [][]byte) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	var next, total atomic.Int64
	errs := make([]error, len(bufs))
	var all sync.WaitGroup
	for i, buf := range bufs {
		all.Go(func() {
			for errs[i] == nil {
				at := next.Add(int64(len(buf))) - int64(len(buf))
				if at >= info.Size() {
					return
				}
				n, err := f.ReadAt(buf, at)
				total.Add(int64(n))
				if err != io.EOF {
					errs[i] = err
				}
			}
		})
	}
	all.Wait()
	return total.Load(), errors.Join(errs...)
}

// markdown writes the table.
func (c *cold) markdown(w io.Writer) {
	fmt.Fprintf(w, "\n### reading back cold\n\n%d rows, %.0f MB on disk, every checksum verified; nothing in the page cache.\n\n", c.Rows, float64(c.Bytes)/megabyte)
	fmt.Fprintf(w, "| reader | MB/s |\n|---|--:|\n")
	for _, p := range c.All {
		fmt.Fprintf(w, "| the disk, O_DIRECT, requests of %d KiB, %d at a time | %s |\n", p.Request>>10, p.Depth, rates(p.MBs))
	}
	fmt.Fprintf(w, "| Holdfast | %s |\n", rates(c.Reader))
	word := "below"
	if c.Ratio.Median >= .8 {
		word = "at or above"
	}
	fmt.Fprintf(w, "\nHoldfast reads at %s of the disk's best (%d KiB, %d at a time): %s the goal of 0.8\n", times(c.Ratio), c.Request>>10, c.Depth, word)
}

func rates(s spread) string { return fmt.Sprintf("%.0f (%.0f..%.0f)", s.Median, s.Min, s.Max) }
