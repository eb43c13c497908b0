package doctor

import "math"

// What one file costs beside its content. Names are those of a Maildir,
// seconds.unique.host, at most 48 bytes; a directory's entry adds 8, and the
// blocks of a directory are on average three quarters full, just after they
// were split half.
const (
	entryBytes  = 56
	perDir      = 10_000 // files of a sub-directory, at least, when there are many
	inlineTaken = 192    // of an inode: its fields, and room for a label of SELinux
	smallBlocks = 2 << 40
)

// fsyncs is how many files a second one disk made durable, each with its
// directory, when it was measured.
const fsyncs = 240

// spool plans for one file per row, or per some rows.
func (p *Plan) spool() error {
	n := p.Need
	files := math.Ceil(float64(p.Rows) * margin * n.FilesPerRow)
	p.Bytes = n.RowSize
	if n.FilesPerRow < 1 {
		p.Bytes = int64(math.Ceil(float64(n.RowSize) / n.FilesPerRow))
	}
	if files > maxInodes {
		return refuse("put more rows into each file (--files-per-row), or plan a stream", "%.0f files are more than one file system takes", files)
	}
	p.Files = int64(files)
	p.step("files", p.Files, "files", "rows x %s files per row x 1.2: a fifth to spare", number(n.FilesPerRow))
	p.step("a file", p.Bytes, "bytes", "its content")
	if rate := n.RowsPerSecond * n.FilesPerRow; rate > fsyncs {
		p.note("%s files a second are more than a disk makes durable one by one, each with its directory (about %d measured; %d with power-loss protection at most): put more rows into each file, or write to Holdfast itself, where one flush covers many rows",
			number(rate), fsyncs, fsyncs*20)
	}
	switch n.FS {
	case "xfs":
		return p.spoolXFS()
	case "ffs":
		return p.spoolFFS()
	}
	return p.spoolExt4()
}

// dirs is how many sub-directories the files are in: one for each minute, or
// for each ten thousand files.
func (p *Plan) dirs() int64 {
	return 16 + max(int64(p.Need.Outage.Minutes()*margin), p.Files/perDir)
}

// An ext4 lays files out in blocks, or in their inodes.
type ext4 struct {
	block  int64
	inode  int64
	inline bool
}

// each is what a file of size bytes takes, without its directory's entry.
func (e ext4) each(size int64) int64 {
	if e.inline {
		return e.inode
	}
	return e.inode + up(size, e.block)
}

func up(n, grain int64) int64 { return (n + grain - 1) / grain * grain }

// choose takes the layout in which the files need the least. Blocks of 4096
// bytes stay unless smaller ones save a fifth: they are quicker.
func (p *Plan) choose() ext4 {
	best := ext4{block: 4096, inode: 256}
	others := []ext4{{block: 1024, inode: 256}}
	if float64(p.Files)*float64(p.Bytes) > smallBlocks {
		others = nil
	}
	for _, inode := range []int64{1024, 512} {
		if p.Bytes <= inode-inlineTaken {
			others = append(others, ext4{block: 4096, inode: inode, inline: true})
		}
	}
	for _, e := range others {
		if e.each(p.Bytes)*5 <= best.each(p.Bytes)*4 {
			best = e
		}
	}
	return best
}

func (p *Plan) spoolExt4() error {
	e, dirs := p.choose(), p.dirs()
	p.Inodes = up(p.Files+dirs+p.Files/100+1000, 1000)
	if p.Inodes > maxInodes {
		return refuse("put more rows into each file (--files-per-row), or plan a stream", "%d inodes are more than ext4 has", p.Inodes)
	}
	tables := p.Inodes * e.inode
	data := int64(0)
	p.step("inodes", p.Inodes, "inodes", "one per file, %d sub-directories, and some to spare; none can be added later", dirs)
	p.step("inode tables", tables, "bytes", "inodes x %d bytes", e.inode)
	if !e.inline {
		data = p.Files * up(p.Bytes, e.block)
		p.step("content", data, "bytes", "files x %d bytes, in blocks of %d", up(p.Bytes, e.block), e.block)
	} else {
		p.step("content", 0, "bytes", "it is in the inodes (inline_data takes up to %d bytes in one of %d)", e.inode-inlineTaken, e.inode)
	}
	names := p.names(e.block)
	size, journal := e.size(p.Inodes, tables+data+names)
	p.step("the file system itself", size-tables-data-names, "bytes", "a journal of %d MiB, bitmaps, copies of descriptors, and what ext4 holds back", journal/mib)
	p.Size = size
	p.step("partition", p.Size, "bytes", "the sum; %d bytes per inode", p.Size/p.Inodes)
	features := ""
	if e.inline {
		features = " -O inline_data"
	}
	p.Mkfs = sprintf("mkfs.ext4 -L %s -b %d -I %d -N %d -m 0 -J size=%d%s %s", p.label(), e.block, e.inode, p.Inodes, journal/mib, features, p.Need.Device)
	p.note("-m 0: nothing is kept back for root, who needs none of it here. Number and size of inodes cannot be changed later")
	if e.inline {
		p.note("a file above %d bytes takes a block of 4096 besides: plan with the largest row that is common, not with the mean", e.inode-inlineTaken)
	}
	return nil
}

// names plans the directories: each entry twice its size, as a block that was
// split is half empty.
func (p *Plan) names(block int64) int64 {
	n := p.Files*2*entryBytes + p.dirs()*block
	p.step("directories", n, "bytes", "files x %d bytes of name, in blocks that may be half empty, and %d sub-directories", entryBytes, p.dirs())
	return n
}

// size returns how large an ext4 must be that holds inodes and content, and how
// large its journal.
func (e ext4) size(inodes, content int64) (size, journal int64) {
	for size = content; ; {
		journal = 64 * mib
		switch {
		case size < 256*mib:
			journal = 8 * mib
		case size < 1024*mib:
			journal = 16 * mib
		}
		perGroup := 8 * e.block
		groups := max((size/e.block+perGroup-1)/perGroup, (inodes+perGroup-1)/perGroup) + 1
		descriptors := groups*64/e.block + 1 + e.block/4 // the last: kept for growing
		copies := 2 + int64(3*math.Log2(float64(groups)))/2
		own := groups*3*e.block + copies*descriptors*e.block
		held := min(size/50, 4096*e.block) // ext4 keeps the smaller of both to itself
		need := up(content+own+journal+held+size/100+2*mib, mib)
		if need <= size {
			return size, journal
		}
		size = need
	}
}

// XFS's own: inodes of 512 bytes, made when they are needed.
const (
	xfsInode = 512
	xfsLeast = 300 * mib
	xfsLog   = 64 * mib
	xfsPool  = 8192 // blocks that it keeps back for itself, or a twentieth
)

func (p *Plan) spoolXFS() error {
	block := int64(4096)
	if small := int64(1024); (up(p.Bytes, small)+xfsInode)*5 <= (up(p.Bytes, block)+xfsInode)*4 {
		block = small
	}
	dirs := p.dirs()
	p.Inodes = p.Files + dirs
	tables := up(p.Inodes, 64) * xfsInode
	data := p.Files * up(p.Bytes, block)
	p.step("inodes", tables, "bytes", "files and %d sub-directories x %d bytes; XFS makes them when they are needed", dirs, xfsInode)
	p.step("content", data, "bytes", "files x %d bytes, in blocks of %d", up(p.Bytes, block), block)
	names := p.names(max(block, 4096))
	content := tables + data + names
	held := min(content/20, xfsPool*block)
	size := up(max(xfsLeast, content+held+content/25+xfsLog+16*mib), mib)
	p.step("the file system itself", size-content, "bytes", "a log of %d MiB, headers of the allocation groups and their trees, and the least that mkfs.xfs makes", xfsLog/mib)
	p.Size = size
	percent := min(99, max(25, 10*(1+tables*13/size)))
	p.step("inodes' share", percent, "percent", "of the volume at most (maxpct), else it is full with room left")
	p.step("partition", p.Size, "bytes", "the sum")
	p.Mkfs = sprintf("mkfs.xfs -L %s -b size=%d -i size=%d,maxpct=%d -l size=%dm -m reflink=0 %s", p.label(), block, xfsInode, percent, xfsLog/mib, p.Need.Device)
	p.note("reflink=0: nothing here is shared between files, and XFS would keep room for the book-keeping of it")
	return nil
}
