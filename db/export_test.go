package db

// The statements whose plans are tested, and the settings they are planned
// under.
const FeedSession = feedSession

var (
	ReadSpan   = readSpan
	ReadIDs    = readIDs
	ReplayPage = replayPage
)

// ReplayPlan sets, for its transaction, what a page of a replay is planned under.
const ReplayPlan = replayPlan

// Bounds of a page.
const (
	PageRows  = pageRows
	PageBytes = pageBytes
)
