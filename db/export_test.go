package db

// The statements whose plans are tested, and the settings they are planned
// under.
const FeedSession = feedSession

var (
	ReadSpan   = readSpan
	ReadIDs    = readIDs
	ReplayPage = replayPage
)

// Bounds of a page.
const (
	PageRows  = pageRows
	PageBytes = pageBytes
)
