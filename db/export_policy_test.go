package db

// AskSQL is the statement whose plan a test looks at.
const AskSQL = ask
