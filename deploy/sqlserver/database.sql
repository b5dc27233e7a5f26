-- Makes the database for a Holdfast cluster on SQL Server 2019 or 2022, and the log-in of its nodes. For an administrator,
-- once; what is there already is left as it is. Then roles.sql, in the database.
--
--     sqlcmd -S SERVER -E -b -i database.sql -v PASSWORD="..."
--     sqlcmd -S SERVER -E -b -d holdfast -i roles.sql
--
-- In an availability group: run this on the primary, add the database to the group, and make the log-in on each other
-- replica with the same SID (`SELECT sid FROM sys.server_principals WHERE name = N'holdfast'`, then
-- `CREATE LOGIN holdfast WITH PASSWORD = ..., SID = 0x...`), or nodes are refused after a failover.
IF DB_ID(N'holdfast') IS NULL
    CREATE DATABASE holdfast;
GO
-- Reads see versions and never wait for a commit. The store's fence reads under locks, whatever stands here.
ALTER DATABASE holdfast SET READ_COMMITTED_SNAPSHOT ON WITH ROLLBACK IMMEDIATE;
GO
-- An acknowledgement follows a commit that is on disk. FORCED is refused by the nodes.
ALTER DATABASE holdfast SET DELAYED_DURABILITY = DISABLED;
GO
ALTER DATABASE holdfast SET RECOVERY FULL;
GO
ALTER DATABASE holdfast SET AUTO_CLOSE OFF;
GO
IF SUSER_ID(N'holdfast') IS NULL
    CREATE LOGIN holdfast WITH PASSWORD = N'$(PASSWORD)', DEFAULT_DATABASE = holdfast, CHECK_POLICY = ON;
GO
