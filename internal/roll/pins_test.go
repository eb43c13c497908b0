package roll

import "testing"

// TestPins asks what keeps the oldest segment of each stream.
func TestPins(t *testing.T) {
	file := func(n uint64, low, high int64) Manifest {
		return Manifest{
			Number: n, Bytes: 10, Tier: Hot, FirstSeq: n*10 - 9, LastSeq: n * 10, FirstTime: int64(n), LastTime: int64(n), FileTime: int64(n),
			FirstLink: low, LastLink: high, Linked: true, Sealed: true,
		}
	}
	family := func(change func(session, packet *Store)) *State {
		st := &State{Volumes: []Volume{{Name: "a", Total: 1000, Free: 500}}, Stores: []Store{
			{Stream: "session", Link: "id", HotVolume: "a", Files: []Manifest{file(1, 1, 10), file(2, 11, 20), file(3, 21, 30)}},
			{Stream: "packet", Parent: "session", Link: "id", HotVolume: "a", Files: []Manifest{file(1, 1, 10), file(2, 11, 20), file(3, 21, 30)}},
		}}
		change(&st.Stores[0], &st.Stores[1])
		return st
	}
	for _, c := range []struct {
		what    string
		change  func(session, packet *Store)
		session string
		packet  string
	}{
		{"nothing", func(_, _ *Store) {}, "", ""},
		{"a sink of the child", func(_, p *Store) { p.Needs = []Need{{Sink: "billing", Seq: 5}} },
			"rows of packet that it is tied to: sink billing", "sink billing"},
		{"a sink of the parent, which packets can go without", func(s, _ *Store) { s.Needs = []Need{{Sink: "billing", Seq: 1}} }, "sink billing", ""},
		{"the sink that is furthest behind", func(s, p *Store) {
			s.Needs = []Need{{Sink: "near", Seq: 9}, {Sink: "far", Seq: 2}}
		}, "sink far", ""},
		{"a sink that has the first segment", func(s, _ *Store) { s.Needs = []Need{{Sink: "billing", Seq: 11}} }, "", ""},
		{"drop_oldest", func(s, _ *Store) { s.Needs, s.DropOldest = []Need{{Sink: "billing", Seq: 1}}, true }, "", ""},
		{"a hold", func(s, _ *Store) { s.Files[0].Held = true }, "a hold", ""},
		{"keep_at_least", func(s, p *Store) { p.Keep.Files = 9 }, "rows of packet that it is tied to: keep_at_least", "keep_at_least"},
		{"one segment alone", func(s, p *Store) { s.Files, p.Files = s.Files[:1], nil }, "it is written to, or the newest", "no segment"},
		{"a warm tier", func(s, p *Store) {
			s.Needs, s.WarmVolume, p.WarmVolume = []Need{{Sink: "billing", Seq: 1}}, "a", "a"
		}, "", ""},
	} {
		pins, err := Pins(family(c.change))
		if err != nil {
			t.Fatalf("%s: %v", c.what, err)
		}
		got := map[string]string{"session": "no segment", "packet": "no segment"}
		for _, p := range pins {
			got[p.Stream] = p.String()
		}
		if got["session"] != c.session || got["packet"] != c.packet {
			t.Errorf("%s: session is kept by %q, want %q; packet by %q, want %q", c.what, got["session"], c.session, got["packet"], c.packet)
		}
	}
	if _, err := Pins(&State{Stores: []Store{{Stream: "x", Parent: "y"}}}); err == nil {
		t.Error("a state that cannot be has pins")
	}
}
