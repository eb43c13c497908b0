package config

import "testing"

// TestShort tells sizes as people read them.
func TestShort(t *testing.T) {
	for n, want := range map[Size]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KB", 1536: "1.5 KB", 64 << 20: "64.0 MB", 5 << 40: "5.0 TB", 3 << 60: "3.0 EB"} {
		if got := n.Short(); got != want {
			t.Errorf("%d bytes are %q, want %q", int64(n), got, want)
		}
	}
}
