package doctor

import (
	"fmt"
	"math"
	"slices"
	"time"

	"holdfast/internal/config"
	"holdfast/internal/disk"
	"holdfast/internal/httpapi"
)

// Room below which somebody should look. Streams count from min_free, where
// writers are refused; of other places it is a share of the volume.
const (
	lowShare   = 10 // percent
	emptyShare = 2
	lowFiles   = 1000 // inodes: the journal needs few, a spool one per file
	emptyFiles = 100
	lastsShort = time.Hour
)

// room looks at what is left, in bytes and in files.
func (x *exam) room() {
	for _, p := range x.places {
		fs, err := disk.OpenExisting(p.real)
		if err != nil {
			continue // said already, by present
		}
		s, err := fs.Space()
		fs.Close()
		if err != nil || s.Total == 0 {
			continue
		}
		x.checked("room", "inodes")
		p.Total, p.Free, p.Place.Files, p.FreeFiles = s.Total, s.Free, s.Files, s.FreeFiles
		x.bytesLeft(p)
		x.filesLeft(p)
	}
}

// addOnce records f, unless the same was said of another place on the mount: a
// volume that is full is full for all of them. The worst is what stays.
func (x *exam) addOnce(p *place, f Finding) {
	for i, old := range x.report.Findings {
		if old.Check != f.Check || !slices.ContainsFunc(x.on(p.mount), func(o *place) bool { return o.Dir == old.Subject }) {
			continue
		}
		if f.Severity > old.Severity {
			x.report.Findings[i] = f
		}
		return
	}
	x.add(f)
}

func (x *exam) bytesLeft(p *place) {
	saw := fmt.Sprintf("%s of %s free", config.Size(p.Free).Short(), config.Size(p.Total).Short())
	look := []string{"df -h " + quote(p.real), "du -xh --max-depth=1 " + quote(or(p.Mount, p.real)) + " | sort -h | tail"}
	if p.use == useStream {
		keep := p.minFree.Of(p.Total)
		x.lasting(p, keep)
		switch {
		case p.Free <= keep:
			x.addOnce(p, Finding{Critical, "room", p.Dir, saw + ", of which min_free keeps " + config.Size(keep).Short(), "writers are refused once the active segment is full, unless delivered rows can go",
				"make room on the volume, or lower min_free and kill -HUP the server", look})
		case p.Free <= 2*keep:
			x.addOnce(p, Finding{Warning, "room", p.Dir, saw + ", of which min_free keeps " + config.Size(keep).Short(), "a longer outage of a sink fills it up", "make room on the volume, or move the stream to a larger one", look})
		case p.Lasts > 0 && p.Lasts < lastsShort.Seconds():
			x.addOnce(p, Finding{Warning, "room", p.Dir, fmt.Sprintf("%s, enough for %s at %s a second", saw, time.Duration(p.Lasts*1e9).Round(time.Second), config.Size(p.Rate).Short()),
				"after that long without a sink writers are refused", "raise the budget in hot, or plan a larger partition (holdfast doctor plan --for stream)", nil})
		}
		return
	}
	share := float64(p.Free) * 100 / float64(p.Total)
	switch {
	case p.use == useData: // its streams say it
	case share < emptyShare:
		x.addOnce(p, Finding{Critical, "room", p.Dir, saw, "soon nothing can be put there", "make room on the volume", look})
	case share < lowShare:
		x.addOnce(p, Finding{Warning, "room", p.Dir, saw, "it is nearly full", "make room on the volume", look})
	}
}

func (x *exam) filesLeft(p *place) {
	if p.Place.Files == 0 {
		return
	}
	share := float64(p.FreeFiles) * 100 / float64(p.Place.Files)
	empty := p.FreeFiles < emptyFiles || p.use == useNamed && share < emptyShare
	low := p.FreeFiles < lowFiles || p.use == useNamed && share < lowShare
	if !low {
		return
	}
	f := Finding{Warning, "inodes", p.Dir, fmt.Sprintf("%d of %d inodes free", p.FreeFiles, p.Place.Files), "when they are used up no file can be made, however many bytes are free",
		"remove files, or move to a file system with more inodes: their number cannot be changed (holdfast doctor plan)",
		[]string{"df -i " + quote(p.real), "du --inodes -x --max-depth=2 " + quote(or(p.Mount, p.real)) + " | sort -n | tail"}}
	if empty {
		f.Severity = Critical
	}
	x.addOnce(p, f)
}

// lasting works out how long the stream takes rows if no sink does: at the rate
// at which the rows came that are stored, the room that is free and that of rows
// which every sink has.
func (x *exam) lasting(p *place, keep int64) {
	if x.in.Status == nil {
		return
	}
	for _, s := range x.in.Status.Streams {
		span := x.now.Sub(s.ReplaySince)
		if s.Name != p.stream || s.ReplaySince.IsZero() || span < time.Minute || s.Bytes == 0 {
			continue
		}
		room := p.Free - keep
		if s.LimitBytes > 0 {
			room = min(room, s.LimitBytes-s.Bytes)
		}
		p.Rate = float64(s.Bytes) / span.Seconds()
		p.Lasts = math.Round(float64(max(0, room+s.Bytes-behind(x.in.Status, s.Name))) / p.Rate)
	}
}

// behind returns the bytes that the slowest sink of a stream has yet to take.
func behind(st *httpapi.Status, stream string) (most int64) {
	for _, k := range st.Sinks {
		if k.Stream == stream {
			most = max(most, k.LagBytes)
		}
	}
	return most
}
