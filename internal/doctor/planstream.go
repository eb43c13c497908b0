package doctor

import (
	"fmt"
	"math"

	"holdfast/internal/disk"
)

// What the journal adds to rows, from docs/format.md: a header and an array of
// ends per record, here for eight columns; a header per block, which is rounded
// up to a page; per segment its two headers, a marker and the footer.
const (
	recordBytes  = 24 + 8*4
	blockBytes   = 80
	segmentBytes = 8 * disk.Align
	largestSeg   = 64 * mib
	smallestSeg  = mib
	parts        = 32 // a segment is at most so small a part of the budget
	markers      = 10 // a second, at most: an empty block after each pause of a tenth of one
	leastBudget  = 32 * mib
	keepFree     = 2 // percent of the volume (min_free)
)

// stream plans for the segments of a stream.
func (p *Plan) stream() error {
	n := p.Need
	commits := math.Ceil(float64(p.Rows) / n.RowsPerCommit)
	block := math.Ceil((blockBytes+n.RowsPerCommit*float64(n.RowSize+recordBytes))/disk.Align) * disk.Align
	pauses := math.Min(commits, markers*n.Outage.Seconds())
	content := commits*block + pauses*disk.Align
	if content > maxVolume/2 {
		return refuse("plan for less, or for several partitions", "%.0f bytes are more than half a petabyte", content)
	}
	p.step("commits", int64(commits), "flushes", "rows / %s rows per commit", number(n.RowsPerCommit))
	p.step("blocks", int64(commits*block), "bytes", "commits x %.0f bytes: %d + rows x (%d + %d), rounded up to %d", block, blockBytes, n.RowSize, recordBytes, disk.Align)
	p.step("markers", int64(pauses*disk.Align), "bytes", "an empty block after a pause, at most %d a second", markers)
	budget, seg := budgetFor(int64(content * margin))
	p.Files, p.Bytes, p.Inodes = budget/seg+2, seg, 0
	p.step("segment", seg, "bytes", "a %dnd of the budget, from 1 to 64 MiB", parts)
	p.step("budget", budget, "bytes", "(blocks + markers) x 1.2, headers and footers, the active segment, one made ahead and one that is sealed")
	switch n.FS {
	case "xfs":
		p.Size = up(max(xfsLeast, (budget+xfsLog+16*mib)*100/(100-keepFree-1)), mib)
		p.Mkfs = fmt.Sprintf("mkfs.xfs -L %s -m reflink=0 %s", p.label(), n.Device)
	case "ffs":
		p.streamFFS(budget * 100 / (100 - keepFree))
	default:
		e := ext4{block: 4096, inode: 256}
		p.Inodes = max(1024, up(p.Files*4, 1024))
		journal := int64(0)
		p.Size, journal = e.size(p.Inodes, budget*100/(100-keepFree)+p.Inodes*e.inode)
		p.Mkfs = fmt.Sprintf("mkfs.ext4 -L %s -b %d -I %d -N %d -m 0 -J size=%d %s", p.label(), e.block, e.inode, p.Inodes, journal/mib, n.Device)
		p.step("inodes", p.Inodes, "inodes", "four times the segments, at least 1024: files are few and large")
	}
	p.step("partition", p.Size, "bytes", "the budget, %d %% that stays free (min_free), and the file system itself", keepFree)
	p.Config = fmt.Sprintf("streams:\n  main:\n    hot: \"%s==%d MB\"\n    min_free: %d%%\n    on_full: refuse\n    wait: 5s\n", p.dir(), budget/mib, keepFree)
	if n.RowsPerCommit == 1 {
		p.note("planned for writers that wait for each row, so that each is flushed, and takes a page, alone; rows that come together share pages: say how many with --rows-per-commit")
	}
	p.note("rows that every sink has go first when room is needed: history needs none of its own")
	p.note("the data directory, with the default sink and the stream of rejects (up to 1 GiB), is elsewhere and needs its own room")
	return nil
}

// budgetFor returns the budget in which content fits, in whole MiB, and the size
// of its segments.
func budgetFor(content int64) (budget, seg int64) {
	for budget = leastBudget; ; {
		seg = max(smallestSeg, min(largestSeg, budget/parts))
		need := up(content+(content/seg+1)*segmentBytes+3*seg+mib, mib)
		if need <= budget {
			return budget, seg
		}
		budget = need
	}
}
