package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"holdfast/internal/fault"
)

// ManifestQuery asks for the segments that can hold a row. What is nil, or
// empty, is not asked for; both ends are included.
type ManifestQuery struct {
	Stream string
	Times  *[2]int64 // of receipt, Unix microseconds
	Links  *[2]int64
	Seqs   *[2]int64
}

// ManifestFinder is implemented by an Admin that finds segments by what is in
// them, those that are gone included.
type ManifestFinder interface {
	// FindManifests calls emit for each manifest, of each stream the oldest
	// first, and returns how many of those kept cannot be read.
	FindManifests(ctx context.Context, q ManifestQuery, emit func(json.RawMessage) error) (damaged int, err error)
}

var errNoManifests = fault.New(fault.FeatureNotSupported, "this server keeps no manifests")

// manifestLine ends an answer about manifests.
type manifestLine struct {
	Damaged int `json:"damaged"`
}

// findManifests is GET /v1/manifests.
func (a *API) findManifests(w http.ResponseWriter, r *http.Request) {
	able, ok := a.o.Admin.(ManifestFinder)
	if !ok {
		fail(w, errNoManifests)
		return
	}
	v := r.URL.Query()
	q := ManifestQuery{Stream: v.Get("stream")}
	for key, into := range map[string]**[2]int64{"times": &q.Times, "links": &q.Links, "seqs": &q.Seqs} {
		span, err := spanOf(key, v.Get(key))
		if err != nil {
			fail(w, err)
			return
		}
		*into = span
	}
	out := newLines(w, false)
	damaged, err := able.FindManifests(r.Context(), q, func(m json.RawMessage) error { return out.send(line{Manifest: m}) })
	if err == nil && damaged > 0 {
		err = out.send(line{Manifests: &manifestLine{damaged}})
	}
	out.end(err)
}

// spanOf reads FIRST..LAST; nil for nothing.
func spanOf(key, text string) (*[2]int64, error) {
	if text == "" {
		return nil, nil
	}
	from, to, ok := strings.Cut(text, "..")
	first, ferr := strconv.ParseInt(from, 10, 64)
	last, lerr := strconv.ParseInt(to, 10, 64)
	if !ok || ferr != nil || lerr != nil || first > last {
		return nil, fault.New(fault.InvalidParameterValue, "%s %q is no span", key, text).WithHint("write it like 100..200")
	}
	return &[2]int64{first, last}, nil
}

// FindManifests calls emit for each manifest of a segment that q means.
func (c *Client) FindManifests(ctx context.Context, q ManifestQuery, emit func(json.RawMessage) error) (damaged int, err error) {
	v := url.Values{}
	if q.Stream != "" {
		v.Set("stream", q.Stream)
	}
	for key, span := range map[string]*[2]int64{"times": q.Times, "links": q.Links, "seqs": q.Seqs} {
		if span != nil {
			v.Set(key, strconv.FormatInt(span[0], 10)+".."+strconv.FormatInt(span[1], 10))
		}
	}
	err = c.lines(ctx, http.MethodGet, "/v1/manifests?"+v.Encode(), func(one *line) error {
		if one.Manifests != nil {
			damaged = one.Manifests.Damaged
		}
		if one.Manifest == nil {
			return nil
		}
		return emit(one.Manifest)
	})
	return damaged, err
}

// FindManifests does the same in this process.
func (l *Local) FindManifests(ctx context.Context, q ManifestQuery, emit func(json.RawMessage) error) (int, error) {
	if able, ok := l.Admin.(ManifestFinder); ok {
		return able.FindManifests(ctx, q, emit)
	}
	return 0, errNoManifests
}

var (
	_ ManifestFinder = (*Client)(nil)
	_ ManifestFinder = (*Local)(nil)
)
