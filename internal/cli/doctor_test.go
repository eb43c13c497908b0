package cli

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/internal/doctor"
)

// TestDoctor names a directory that is not there: it is found, told first, in
// words and in JSON, and the exit code says so.
func TestDoctor(t *testing.T) {
	gone := filepath.Join(t.TempDir(), "gone")
	r := run(t, "", nil, "doctor", "--no-write", gone)
	head := "CRITICAL  " + gone + ": missing (present)\n  nothing can be put there"
	if r.code != exitFailed || !strings.HasPrefix(r.out, head) || !strings.Contains(r.out, "\n      findmnt --fstab --target "+gone+"\n") ||
		!strings.Contains(r.out, "\nDIRECTORY ") || !strings.Contains(r.out, " critical, ") || !strings.Contains(r.errors, "doing\n") {
		t.Errorf("%d %s%s", r.code, r.out, r.errors)
	}
	var report doctor.Report
	r = run(t, "", nil, "doctor", "--no-write", "--json", gone)
	if err := json.Unmarshal([]byte(r.out), &report); err != nil || r.code != exitFailed || report.Findings[0].Check != "present" || report.Findings[0].Severity != doctor.Critical || len(report.Places) != 1 {
		t.Errorf("%v, %d %s", err, r.code, r.out)
	}
	if r := run(t, "", nil, "doctor", "--config", gone); r.code != exitFailed || r.out != "" || !strings.Contains(r.errors, "read configuration") {
		t.Errorf("%+v", r)
	}
}
